//! The table of the relays.

use std::fmt::Write;

use anyhow::Result;

use super::reader::Way;
use super::round::{Figures, Load};
use crate::server::Program;
use crate::statistics::{median, median_of};

const HEAD: &str = "\
| way | made with | token p50 | p99 | added p50 | added p99 | p99 under load \
| answers done | tokens | lost | repeated | out of order | CPU per token | × peer-relay |
| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |
";

/// Medians over the rounds; but of tokens the sums, so that not one that is lost is hidden.
pub fn table(ways: &[(Way, Vec<Figures>)]) -> Result<String> {
    let rounds =
        |way| ways.iter().find(|(w, _)| *w == way).map(|(_, rounds)| rounds);
    let direct = rounds(Way::Direct);
    let least =
        rounds(Way::PeerRelay).map(|rounds| of_load(rounds, |load| load.cpu_us));
    let mut table = HEAD.to_string();
    for (way, rounds) in ways {
        let made_with = way.relay().map_or(Ok("–".into()), Program::framework)?;
        write!(table, "| {} | {made_with} |", way.name())?;
        let latencies: [fn(&Figures) -> f64; 2] = [|f| f.p50_ms, |f| f.p99_ms];
        for of in latencies {
            write!(table, " {:.3} ms |", median_of(rounds, of))?;
        }
        for of in latencies {
            match direct {
                Some(direct) if *way != Way::Direct => {
                    let added = median_of(rounds, of) - median_of(direct, of);
                    write!(table, " {added:.3} ms |")?;
                }
                _ => table.push_str(" – |"),
            }
        }
        if *way == Way::Direct {
            writeln!(table, "{}", " – |".repeat(8))?;
            continue;
        }
        write!(table, " {:.3} ms |", of_load(rounds, |load| load.p99_ms))?;
        let counts: [fn(&Load) -> usize; 5] = [
            |load| load.answers,
            |load| load.tokens,
            |load| load.lost,
            |load| load.repeated,
            |load| load.out_of_order,
        ];
        for count in counts {
            let loads = rounds.iter().filter_map(|figures| figures.load.as_ref());
            write!(table, " {} |", loads.map(count).sum::<usize>())?;
        }
        let cpu = of_load(rounds, |load| load.cpu_us);
        let times =
            least.map_or("–".into(), |least| format!("{:.2}", cpu / least));
        writeln!(table, " {cpu:.2} µs | {times} |")?;
    }
    Ok(table)
}

fn of_load(rounds: &[Figures], of: fn(&Load) -> f64) -> f64 {
    let loads = rounds.iter().filter_map(|figures| figures.load.as_ref());
    median(loads.map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(ms: f64, load: Option<(f64, usize)>) -> Figures {
        let load = load.map(|(cpu_us, lost)| Load {
            p99_ms: ms,
            cpu_us,
            answers: 2,
            tokens: 10 - lost,
            lost,
            repeated: 0,
            out_of_order: 0,
        });
        Figures { p50_ms: ms, p99_ms: 2.0 * ms, load }
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
