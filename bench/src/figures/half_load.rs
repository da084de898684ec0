//! How long one in a hundred waits when a server has half of the work that it can do. Requests come at moments that were fixed
//! before (see [`open_loop`](crate::open_loop)), and come to the floor as often as to the product, whose speed they are half
//! of.

use m2m::verify::Algorithm;

use super::{Stage, Token, introspection};
use crate::{
    report::Report,
    route::{Route, measure as compare},
    run,
    server::Server,
    wrk::Request,
};

/// How many times the floor's wait the product's may be.
const GOAL: f64 = 1.5;

/// A route of the product, and the floor's beside it.
struct Pair<'a> {
    names: [&'static str; 2],
    product: (&'a Server, Request),
    floor: Request,
}

pub(super) async fn measure(stage: &Stage<'_>, report: &mut Report) -> anyhow::Result<()> {
    let es256 = Token::Jwt(Algorithm::ES256);
    let token = stage.token(es256).await?;
    let mut calendar = run::calendar(stage.setting, &stage.provider, es256.resource())?;
    calendar.ready(&stage.setting.http).await?;
    let here = (&stage.provider, stage.setting.folder());
    let (asked, answered) = introspection::requests(stage, here, es256).await?;
    let pairs = [
        Pair {
            names: ["half load: issue, ES256", "half load: floor, ES256"],
            product: (&stage.provider, stage.token_request(es256)?),
            floor: stage.floor_token_request(Algorithm::ES256),
        },
        Pair {
            names: ["half load: issue, RS256", "half load: floor, RS256"],
            product: (
                &stage.provider,
                stage.token_request(Token::Jwt(Algorithm::RS256))?,
            ),
            floor: stage.floor_token_request(Algorithm::RS256),
        },
        Pair {
            names: ["half load: introspect a JWT", "half load: floor, a map"],
            product: (&stage.provider, asked),
            floor: answered,
        },
        Pair {
            names: [
                "half load: protected route, repeated token",
                "half load: floor, the same list open",
            ],
            product: (
                &calendar,
                Request::get(calendar.url("/event")).bearer(&token),
            ),
            // A token must be sent and read, whatever is done with it.
            floor: Request::get(stage.floor.url("/event")).bearer(&token),
        },
    ];
    for Pair {
        names: [product_name, floor_name],
        product: (server, request),
        floor,
    } in pairs
    {
        let full = Route::new(product_name, server, request.clone());
        let full = full
            .sample(stage.setting, stage.setting.plan().seconds)
            .await?;
        let rate = full.requests_per_second / 2.0;
        let routes = [
            Route::new(product_name, server, request).steadily(rate),
            Route::new(floor_name, &stage.floor, floor)
                .steadily(rate)
                .goal(GOAL),
        ];
        report.add_p99(&compare(stage.setting, &routes).await?);
    }
    Ok(())
}
