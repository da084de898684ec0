//! `hello-service` on the tutorial's port.

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = hello_service::start("http://localhost:3001/auth", "localhost:3022".parse()?)?;
    eprintln!("hello-service listens on {}", server.url());
    Ok(server.until_stopped().await?)
}
