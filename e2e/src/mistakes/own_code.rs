//! What `m2m` says to those who write services and clients with it.

use super::Mistake;

pub(super) static MISTAKES: [Mistake; 6] = [
    Mistake {
        id: "verifier-without-audience",
        title: "A verifier without an audience",
        made_by: "`Verifier::builder(issuer).build()`.",
        says: "a verifier needs the name of its own service as the audience, in printable ASCII without quotes: `.audience(\"calendar-service\")`",
        cause: "Without one it would accept tokens that are meant for others.",
        next: "Add `.audience(\"…\")`, with the name that the policy has for this service.",
    },
    Mistake {
        id: "issuer-without-scheme",
        title: "An issuer that is no URL",
        made_by: "`Verifier::builder(\"auth.example.com\")`, or an empty environment variable.",
        says: "`auth.example.com` cannot be the issuer: write an absolute URL, such as https://auth.example.com",
        cause: "The issuer is a whole URL, with its scheme.",
        next: "Write it as the provider logs it at its start.",
    },
    Mistake {
        id: "issuer-with-a-newline",
        title: "An issuer with a line break",
        made_by: "`TokenSource::client_secret(fs::read_to_string(\"issuer\")?, …)`.",
        says: "`https://auth.example.com/auth\\n` cannot be the issuer: write it in printable ASCII without blanks and backslashes",
        cause: "The text was read with the line break at its end, which is no part of the URL.",
        next: "`.trim()` it.",
    },
    Mistake {
        id: "source-with-a-newline",
        title: "A secret with a line break",
        made_by: "`TokenSource::client_secret(issuer, id, fs::read_to_string(\"secret\")?)`.",
        says: "the client secret must be printable ASCII and not empty: copy it again from where it was issued",
        cause: "The text was read with the line break at its end. An empty variable is another cause.",
        next: "`.trim()` it; or read `clients.json` with `TokenSource::from_file`.",
    },
    Mistake {
        id: "feed-without-credentials",
        title: "Following revocations without credentials",
        made_by: "`Verifier::builder(issuer).audience(…).revocation(Revocation::Feed(Feed::default())).build()`.",
        says: "the revocation feed needs this service's own credentials at the issuer: `.client(\"calendar-service\", secret)`",
        cause: "The issuer tells revocations only to the owner of the resource, which has to say who it is.",
        next: "Add `.client(…)` or `.client_from_file(…)`; without revocation, `.revocation(Revocation::None)`.",
    },
    Mistake {
        id: "too-much-leeway",
        title: "A leeway of minutes",
        made_by: "`.leeway(Duration::from_mins(5))`, to live with clocks that differ.",
        says: "a leeway of 300 s keeps expired tokens alive: allow at most 60 s and set the clocks right",
        cause: "Each expired or revoked token would be good for so much longer.",
        next: "Leave the leeway at its ten seconds, and set the clocks by NTP.",
    },
];
