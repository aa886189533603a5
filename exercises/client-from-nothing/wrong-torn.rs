use std::env;
use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).ok_or("usage: client URL")?;
    loop {
        let mut response = reqwest::get(&url).await?;
        let mut text = String::new();
        while let Some(bytes) = response.chunk().await? {
            text += &String::from_utf8_lossy(&bytes);
            while let Some((line, rest)) = text.split_once('\n') {
                if let Some(data) = line.strip_prefix("data: ") {
                    println!("message: {data}");
                }
                text = rest.to_string();
            }
        }
    }
}
