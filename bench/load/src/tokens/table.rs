//! The table of the relays.

use std::fmt::Write;

use anyhow::Result;

use super::reader::Way;
use super::round::{Figures, Load};
use crate::statistics::{median_of, sums};

const HEAD: &str = "\
| way | made with | token p50 | p99 | added p50 | added p99 | p99 under load \
| answers done | tokens | lost | repeated | out of order | CPU per token | × peer-relay |
| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |
";

/// Medians over the rounds; but of tokens the sums.
pub fn table(ways: &[(Way, Vec<Figures>)]) -> Result<String> {
    let rounds =
        |way| ways.iter().find(|(w, _)| *w == way).map(|(_, rounds)| rounds);
    let alone = |rounds: &Vec<_>| {
        [0, 1].map(|at| median_of(rounds, |figures: &Figures| figures.alone[at]))
    };
    let direct = rounds(Way::Direct).map(alone);
    let cpu = |rounds: &Vec<_>| median_of(&loads(rounds), |load| load.cpu_us);
    let least = rounds(Way::PeerRelay).map(cpu);
    let mut table = HEAD.to_string();
    for (way, rounds) in ways {
        let made_with =
            way.relay().map_or(Ok("–".into()), |relay| relay.framework())?;
        let [p50, p99] = alone(rounds);
        write!(
            table,
            "| {} | {made_with} | {p50:.3} ms | {p99:.3} ms |",
            way.name()
        )?;
        if *way == Way::Direct {
            writeln!(table, "{}", " – |".repeat(10))?;
            continue;
        }
        match direct {
            Some([d50, d99]) => {
                write!(table, " {:.3} ms | {:.3} ms |", p50 - d50, p99 - d99)?;
            }
            None => table.push_str(" – | – |"),
        }
        let loads = loads(rounds);
        let answers: usize = loads.iter().map(|load| load.answers).sum();
        let cpu = cpu(rounds);
        writeln!(
            table,
            " {:.3} ms | {answers} | {} | {cpu:.2} µs | {} |",
            median_of(&loads, |load| load.p99_ms),
            sums(loads.iter().map(|load| load.tokens)),
            least.map_or("–".into(), |least| format!("{:.2}", cpu / least))
        )?;
    }
    Ok(table)
}

fn loads(rounds: &[Figures]) -> Vec<&Load> {
    rounds.iter().filter_map(|figures| figures.load.as_ref()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(ms: f64, load: Option<(f64, usize)>) -> Figures {
        let load = load.map(|(cpu_us, lost)| Load {
            p99_ms: ms,
            cpu_us,
            answers: 2,
            tokens: [10 - lost, lost, 0, 0],
        });
        Figures { alone: [ms, 2.0 * ms], load }
    }

    #[test]
    fn the_table_has_medians_but_hides_no_token_that_is_lost() {
        let relay = |cpu: f64, lost| figures(0.5, Some((cpu, lost)));
        let ways = [
            (Way::Direct, vec![figures(0.1, None); 3]),
            (Way::PeerRelay, vec![relay(10.0, 0); 3]),
            (Way::Llm, vec![relay(15.0, 0), relay(99.0, 1), relay(14.0, 0)]),
        ];
        let table = table(&ways).unwrap();
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            rows[0],
            "| direct | – | 0.100 ms | 0.200 ms | – | – | – | – | – | – | – | – | – | – |"
        );
        assert!(
            rows[2].ends_with(
                "| 0.500 ms | 1.000 ms | 0.400 ms | 0.800 ms | 0.500 ms | 6 | 29 | 1 | 0 | 0 \
                 | 15.00 µs | 1.50 |"
            ),
            "{table}"
        );
    }
}
