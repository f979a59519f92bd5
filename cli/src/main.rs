//! The program `lodger`.

use lodger::{Runtime, http, ws};

struct Echo;

impl ws::Handler for Echo {
    fn message(&mut self, cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
        if cx.send(message).is_err() {
            cx.close(1008);
        }
    }
}

fn main() -> std::io::Result<()> {
    let rt = Runtime::standalone()?;
    let config = ws::Config::default().message(16 << 20).frame(16 << 20).fragments(u32::MAX);
    let server = http::Server::new()
        .get("/", |_req, res| res.text("hello"))
        .get("/plaintext", |_req, res| res.text("Hello, World!"))
        .post("/echo", |_req, res| {
            res.read_body_up_to(64 << 20, |body, res| res.bytes("application/octet-stream", body))
        })
        .ws_with("/echo", config, |_req| Ok(Echo));
    rt.listen("127.0.0.1:7681", server)?;
    println!("http://127.0.0.1:7681/");
    rt.run()
}
