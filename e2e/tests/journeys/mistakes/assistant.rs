//! Mistakes at the terminal.

use std::fs;

use e2e::mistakes::Place;

use super::{compare, world::World};

#[tokio::test]
async fn the_assistant_says_what_the_table_has() {
    let mut world = World::with_provider().await;
    world.lose_all_data();
    world.start_provider().await;
    let (_notes, notes) = world.start_service("note-service", 3012, &[]).await;
    let nobody = world.port_for(3012);
    let folder = world.path();
    fs::create_dir(folder.join("elsewhere")).unwrap();
    fs::write(folder.join("elsewhere/clients.json"), r#"{"others": {}}"#).unwrap();
    let clients = fs::read_to_string(folder.join("clients.json")).unwrap();
    fs::write(folder.join("half.json"), &clients[..clients.len() / 2]).unwrap();

    compare(Place::Assistant, async |id| {
        made(&world, notes, nobody, id).await
    })
    .await;
}

async fn made(world: &World, notes: u16, nobody: u16, id: &str) -> String {
    let at = |port: u16| format!("http://localhost:{port}");
    let issuer = world.issuer();
    let asks_with = async |flag: &str, value: &str| {
        let arguments = ["note", "list", "--issuer", &issuer, flag, value];
        world.fails("assistant", &arguments).await
    };
    let asks_as = async |variables: &[(&str, &str)]| {
        let arguments = ["note", "list", "--issuer", &issuer];
        world.fails_with("assistant", &arguments, variables).await
    };
    let asks_issuer = async |issuer: &str| {
        world
            .fails("assistant", &["note", "list", "--issuer", issuer])
            .await
    };
    let secret = world.secret("assistant");
    let asks_with_secret = async |secret: &str| {
        let id = ("ASSISTANT_CLIENT_ID", "assistant");
        asks_as(&[id, ("ASSISTANT_CLIENT_SECRET", secret)]).await
    };
    match id {
        "provider-down" => {
            let said = asks_issuer(&(at(nobody) + "/auth")).await;
            said.replace(":3012", ":3001") // where nobody is
        }
        "service-down" => asks_with("--note-url", &at(nobody)).await,
        "services-swapped" => {
            let url = at(notes);
            let arguments = [
                "calendar",
                "list",
                "--issuer",
                &issuer,
                "--calendar-url",
                &url,
            ];
            world.fails("assistant", &arguments).await
        }
        "issuer-is-a-service" => asks_issuer(&(at(notes) + "/auth")).await,
        "issuer-without-path" => asks_issuer(&at(world.port())).await,
        "issuer-with-slash" => asks_issuer(&(issuer.clone() + "/")).await,
        "issuer-by-number" => asks_issuer(&issuer.replace("localhost", "127.0.0.1")).await,
        "issuer-is-its-metadata" => {
            asks_issuer(&(issuer.clone() + "/.well-known/openid-configuration")).await
        }
        "issuer-in-the-clear" => asks_issuer("http://auth.example.com/auth").await,
        "no-clients-file" => {
            let elsewhere = World::new();
            elsewhere
                .fails("assistant", &["note", "list", "--issuer", &issuer])
                .await
        }
        "clients-file-cut" => asks_with("--clients-file", "half.json")
            .await
            .replace("half", "clients"),
        "clients-file-of-others" => asks_with("--clients-file", "elsewhere/clients.json").await,
        "clients-file-is-old" => {
            let said = asks_with("--clients-file", "old.json").await;
            said.replace("old.json", "clients.json")
        }
        "secret-ends-in-a-newline" => asks_with_secret(&format!("{secret}\n")).await,
        "secret-in-quotes" => asks_with_secret(&format!("\"{secret}\"")).await,
        "only-an-id" => asks_as(&[("ASSISTANT_CLIENT_ID", "assistant")]).await,
        "scope-not-granted" => {
            let wish = ["token", "note-service", "--scope", "note.delete"];
            let arguments = [&wish[..], &["--issuer", &issuer]].concat();
            world.fails("assistant", &arguments).await
        }
        "resource-not-granted" => {
            let arguments = ["token", "token-vault", "--issuer", &issuer];
            world.fails("assistant", &arguments).await
        }
        _ => panic!("nobody makes the mistake {id}"),
    }
}
