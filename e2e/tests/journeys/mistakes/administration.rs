//! Mistakes with the commands that administer a provider.

use e2e::mistakes::Place;

use super::{compare, world::World};

#[tokio::test]
async fn the_commands_of_the_provider_say_what_the_table_has() {
    let world = World::with_provider().await;
    compare(Place::Administration, async |id| made(&world, id).await).await;
}

async fn made(world: &World, id: &str) -> String {
    let url = world.issuer().replace("/auth", "");
    let says = async |world: &World, arguments: &[&str]| {
        let arguments = [arguments, &["--url", &url]].concat();
        world.fails("auth-provider", &arguments).await
    };
    match id {
        "nobody-to-administer" => {
            let mut world = World::with_provider().await;
            world.stop_provider();
            let url = world.issuer().replace("/auth", "");
            world
                .fails("auth-provider", &["client", "list", "--url", &url])
                .await
        }
        "administrator-without-clients-file" => says(&World::new(), &["client", "list"]).await,
        "administrator-without-right" => {
            says(world, &["client", "list", "--as", "assistant"]).await
        }
        "secret-for-nobody" => says(world, &["client", "create", "billing"]).await,
        _ => panic!("nobody makes the mistake {id}"),
    }
}
