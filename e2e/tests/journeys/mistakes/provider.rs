//! Mistakes at the provider's start.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use e2e::mistakes::Place;
use sqlx::{Connection, SqliteConnection};

use super::{compare, world::World};

#[tokio::test]
async fn a_provider_that_cannot_start_says_what_the_table_has() {
    let running = World::with_provider().await;
    compare(Place::Provider, async |id| made(&running, id).await).await;
}

/// Most of them are made in a folder of their own.
async fn made(running: &World, id: &str) -> String {
    let mut world = World::new();
    let port = world.port_for(3001);
    let listen = format!("localhost:{port}");
    let starts = async |world: &World, more: &[&str]| {
        let arguments = ["--listen", &listen, "--policy", "policy.toml"];
        world
            .fails("auth-provider", &[&arguments[..], more].concat())
            .await
    };
    let starts_with_key = async |world: &World, key: &str| {
        let arguments = ["--listen", &listen, "--policy", "policy.toml"];
        let key = ("AUTH_PROVIDER_MASTER_KEY", key);
        world.fails_with("auth-provider", &arguments, &[key]).await
    };
    if let Some(policy) = spoilt_policy(&world, id) {
        fs::write(world.path().join("policy.toml"), policy).unwrap();
        return starts(&world, &[]).await;
    }
    match id {
        "port-in-use" => {
            let listen = format!("localhost:{}", running.port());
            let arguments = ["--listen", &listen, "--data-dir", "another"];
            running.fails("auth-provider", &arguments).await
        }
        "data-in-use" => {
            running
                .fails("auth-provider", &["--listen", "localhost:0"])
                .await
        }
        "data-folder-not-to-be-made" => starts(&world, &["--data-dir", "/dev/null/data"]).await,
        "data-of-a-newer-version" => {
            had_run(&mut world).await;
            add_a_version(&world.path().join("data/auth-provider.db")).await;
            starts(&world, &[]).await
        }
        "database-url-misspelt" => {
            starts(&world, &["--database-url", "postgress://me@localhost/auth"]).await
        }
        "no-postgresql" => {
            starts(
                &world,
                &["--database-url", "postgres://me@localhost:1/auth"],
            )
            .await
        }
        "master-key-lost" => {
            had_run(&mut world).await;
            fs::remove_file(world.path().join("data/master.key")).unwrap();
            starts(&world, &[]).await
        }
        "master-key-of-others" => {
            had_run(&mut world).await;
            starts_with_key(&world, &("A".repeat(43) + "=")).await
        }
        "master-key-malformed" => starts_with_key(&world, "secret").await,
        "master-key-for-all-eyes" => {
            had_run(&mut world).await;
            show_to_all(&world.path().join("data/master.key"));
            starts(&world, &[]).await
        }
        "public-url-in-the-clear" => {
            starts(&world, &["--public-url", "http://auth.example.com"]).await
        }
        "listens-to-everybody" => {
            world
                .fails("auth-provider", &["--listen", "0.0.0.0:3001"])
                .await
        }
        "proxy-without-public-url" => {
            let arguments = ["--listen", "0.0.0.0:3001", "--behind-tls-proxy"];
            world.fails("auth-provider", &arguments).await
        }
        "policy-not-there" => {
            world
                .fails(
                    "auth-provider",
                    &["--listen", &listen, "--policy", "polcy.toml"],
                )
                .await
        }
        "clients-file-for-all-eyes" => {
            had_run(&mut world).await;
            show_to_all(&world.path().join("clients.json"));
            world.start_provider().await;
            world
                .log_with("auth-provider", "could be read by others")
                .await
        }
        "clients-file-put-aside" => {
            fs::write(world.path().join("clients.json"), "{").unwrap();
            world.start_provider().await;
            world.log_with("auth-provider", "put aside").await
        }
        _ => panic!("nobody makes the mistake {id}"),
    }
}

/// A policy with the mistake in it; `None` when the mistake is made elsewhere.
fn spoilt_policy(world: &World, id: &str) -> Option<String> {
    let grant = match id {
        "policy-is-no-toml" => return Some("[clients]\nreader = {\n".to_owned()),
        "policy-key-misspelt" => "resource = 'note-service'\nscope = ['note.read']",
        "policy-with-an-unknown-resource" => "resource = 'notes-service'\nscopes = ['note.read']",
        "policy-with-an-unknown-scope" => "resource = 'note-service'\nscopes = ['note.delete']",
        _ => return None,
    };
    let policy = fs::read_to_string(world.path().join("policy.toml")).unwrap();
    Some(format!(
        "{policy}\n[[grants]]\nclient = 'reader'\n{grant}\n"
    ))
}

/// There is data from before.
async fn had_run(world: &mut World) {
    world.start_provider().await;
    world.stop_provider();
}

fn show_to_all(file: &Path) {
    fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
}

/// As a program of a later version leaves the database.
async fn add_a_version(database: &Path) {
    let url = format!("sqlite:{}", database.display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let step = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                VALUES (1000, 'later', 1, x'00', 0)";
    sqlx::query(step).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}
