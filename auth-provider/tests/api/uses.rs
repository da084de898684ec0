//! What the stores add up of the uses of credentials, from the audit log.

use auth_provider::{
    audit::{Action, Event, Origin},
    client::{ClientId, CredentialId, Secret},
    policy_file::Policy,
    registry::{
        Usage,
        change::{Change, NewCredential},
        policy::apply_at_start,
    },
};

use crate::{store_contract::stores, support::NOW};

/// Where many share a client, who comes seldom shows only in the gaps of one credential.
#[actix_web::test]
async fn a_gap_lies_between_two_uses_of_the_same_credential() {
    let client = ClientId::parse("fleet").unwrap();
    let policy = Policy::parse("[clients.fleet]").unwrap();
    let credential = || NewCredential::of(&client, "", &Secret::generate(), NOW);
    let used = |id: &CredentialId, after: u64| {
        let origin = Origin::server();
        let event = Event::done(Action::TokenIssued, NOW + after, &origin);
        let mut event = event.client(&client).credential(id);
        event.ends_at = Some(NOW + after + 60);
        event
    };
    for (store, _folder) in stores().await {
        apply_at_start(store.as_ref(), &policy, NOW).await.unwrap();
        let (old, new) = (credential(), credential());
        let (a, b) = (old.id, new.id);
        let add = [Change::AddCredential(old), Change::AddCredential(new)];
        store.commit(&add, &[]).await.unwrap();
        for (events, gap) in [
            // The first use of a credential follows the last one of the client.
            (vec![used(&a, 0), used(&b, 10), used(&b, 12)], 10),
            // In one step, and from one step to the next.
            (vec![used(&b, 15), used(&a, 50), used(&b, 20)], 50),
            (vec![used(&a, 55), used(&b, 60)], 50),
            (vec![used(&b, 130)], 70),
        ] {
            store.add_events(&events).await.unwrap();
            while store.sum_up_uses().await.unwrap() {}
            let credentials = store.credentials(&client).await.unwrap();
            assert_eq!(credentials.longest_gap, gap, "{events:?}");
        }
        let all = store.credentials(&client).await.unwrap().all;
        for (id, count, last) in [(&a, 3, 55), (&b, 6, 130)] {
            let credential = all.iter().find(|credential| credential.id == *id);
            let usage = Usage {
                last_used_at: NOW + last,
                count,
                alive_until: NOW + last + 60,
            };
            assert_eq!(credential.unwrap().usage, Some(usage));
        }
    }
}
