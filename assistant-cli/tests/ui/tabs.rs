//! The tabs beside the board: what keys, clicks and answers do there, and how it looks.

use assistant_cli::{
    exchange::{Exchange, Message},
    failure::{Failure, Kind},
    lab::{self, EXPERIMENTS, Note, Report, Step},
    token_view::TokenView,
    ui::{
        Action, Deed, Effect, Model, Msg, News, Tab, TokenInUse, TokenState, TokenWish, TrialStage,
        choices, update, view,
    },
};
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::KeyCode::{self, BackTab, Char, Down, End, Enter, Esc, PageDown, Up},
};
use serde_json::{Value, json};

use crate::{
    screens::picture,
    world::{NOW, fresh, loaded, press, token},
};

/// A token with an inside.
fn readable(resource: &str, scope: &str) -> TokenInUse {
    let object = |value: Value| value.as_object().unwrap().clone();
    let view = TokenView {
        header: object(json!({"alg": "ES256", "kid": "k1", "typ": "at+jwt"})),
        claims: object(json!({
            "iss": "http://localhost:3001/auth", "sub": "assistant", "client_id": "assistant",
            "aud": resource, "scope": scope, "scp": [scope],
            "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 3590, "jti": "tok_1",
        })),
    };
    TokenInUse {
        resource: resource.to_owned(),
        scopes: scope.to_owned(),
        view: Some(view),
        ..token()
    }
}

/// Three tokens, one of which has ended; the cursor is on that for the notes.
fn with_tokens() -> Model {
    let mut model = fresh();
    let mut old = readable("calendar-service", "calendar.write");
    old.fetched_at -= 7200;
    old.expires_at -= 7200;
    for token in [
        readable("note-service", "note.read"),
        old,
        readable("calendar-service", "calendar.read"),
    ] {
        update(&mut model, Msg::Token(token));
    }
    press_all(&mut model, &[Char('2'), End]);
    model
}

fn exchange(to: &str, method: &str, path: &str, status: Option<u16>) -> Exchange {
    let headers = [("authorization", "Bearer eyJ")];
    let denied = [(
        "www-authenticate",
        "Bearer realm=\"a\", error=\"invalid_token\"",
    )];
    Exchange {
        from: "assistant".to_owned(),
        to: to.to_owned(),
        method: method.to_owned(),
        url: format!("http://localhost:3011{path}"),
        request: Message::new(headers, None),
        status,
        response: match status {
            Some(401) => Message::new(denied, Some("{\"error\":\"invalid_token\"}")),
            _ => Message::default(),
        },
        took_ms: 5,
    }
}

fn with_exchanges() -> Model {
    let mut model = loaded();
    for (to, method, path, status) in [
        (
            "auth-provider",
            "GET",
            "/.well-known/oauth-authorization-server/auth",
            Some(200),
        ),
        ("auth-provider", "POST", "/auth/oauth/token", Some(200)),
        ("note-service", "GET", "/note", Some(200)),
        ("calendar-service", "GET", "/event", Some(401)),
        ("resource-server", "GET", "/protected", None),
    ] {
        let seen = exchange(to, method, path, status);
        update(&mut model, Msg::Seen(Box::new(seen)));
    }
    press(&mut model, Char('3'));
    model
}

/// The first experiment, as it ends when all is well.
fn report() -> Report {
    Report {
        experiment: &EXPERIMENTS[0],
        steps: vec![
            Step {
                exchanges: vec![exchange("note-service", "GET", "/note", Some(200))],
                ..Step::new("The notes accept it.")
            },
            Step {
                exchanges: vec![exchange("calendar-service", "GET", "/event", Some(401))],
                remarks: vec!["a remark".to_owned()],
                ..Step::new("The calendar gets the same token.")
            },
        ],
        answer: Some(1),
        what: "The calendar answered 401, invalid_token: the token is for another audience"
            .to_owned(),
        prediction: None,
    }
}

fn press_all(model: &mut Model, keys: &[KeyCode]) -> Vec<Effect> {
    keys.iter().flat_map(|key| press(model, *key)).collect()
}

/// What a click on this text does.
fn click(model: &mut Model, text: &str) -> Vec<Effect> {
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    let mut targets = None;
    let drawn = terminal
        .draw(|frame| targets = Some(view(model, frame)))
        .unwrap();
    let rows = drawn.buffer.content.chunks(80).map(|row| {
        row.iter()
            .map(|cell| cell.symbol().chars().next().unwrap_or(' '))
            .collect::<String>()
    });
    let found = rows.enumerate().find_map(|(y, row)| {
        let at = row.find(text)?;
        Some((row[..at].chars().count(), y))
    });
    let (x, y) = found.unwrap_or_else(|| panic!("{text} is not to be seen"));
    let [x, y] = [x, y].map(|n| u16::try_from(n).unwrap());
    let action = targets.unwrap().at(x, y);
    update(
        model,
        Msg::Click(action.unwrap_or_else(|| panic!("{text} does nothing"))),
    )
}

#[test]
fn keys_and_clicks_go_from_tab_to_tab() {
    let mut model = loaded();
    for (key, tab) in [
        (KeyCode::Tab, Tab::Tokens),
        (KeyCode::Tab, Tab::Trace),
        (BackTab, Tab::Tokens),
        (Char('4'), Tab::Lab),
        (KeyCode::Tab, Tab::Board),
        (BackTab, Tab::Lab),
        (Char('1'), Tab::Board),
        (Char('t'), Tab::Tokens),
    ] {
        assert_eq!(press(&mut model, key), []);
        assert_eq!(model.tab, tab, "{key:?}");
    }
    for (text, tab) in [
        ("4 Lab", Tab::Lab),
        ("3 Trace", Tab::Trace),
        ("1 Board", Tab::Board),
    ] {
        assert_eq!(click(&mut model, text), []);
        assert_eq!(model.tab, tab);
    }
}

#[test]
fn a_click_does_what_stands_there() {
    let mut model = loaded();
    click(&mut model, "Dentist");
    assert_eq!(model.events.at, 1);
    click(&mut model, "Dentist");
    assert!(picture(&model, 80, 24).to_string().contains("Edit event 7"));
    press(&mut model, Esc);
    click(&mut model, "Del delete");
    assert!(
        picture(&model, 80, 24)
            .to_string()
            .contains("Delete “Dentist”")
    );
    // What lies behind the question cannot be reached.
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    let mut targets = None;
    terminal
        .draw(|frame| targets = Some(view(&model, frame)))
        .unwrap();
    assert_eq!(targets.unwrap().at(5, 3), None);
    press(&mut model, Esc);
    assert_eq!(click(&mut model, "q quit"), [Effect::Quit]);
}

#[test]
fn a_token_is_refreshed_revoked_and_copied_once_at_a_time() {
    let mut model = with_tokens();
    let wish = |deed| TokenWish {
        deed,
        resource: "note-service".to_owned(),
        scopes: "note.read".to_owned(),
    };
    let copy = Effect::Token(wish(Deed::Copy));
    assert_eq!(press(&mut model, Char('c')), [copy]);
    let revoke = Effect::Token(wish(Deed::Revoke));
    assert_eq!(press(&mut model, Char('x')), [revoke]);
    assert_eq!(
        press_all(&mut model, &[Char('x'), Char('r'), Char('c')]),
        [],
        "it is busy"
    );
    update(&mut model, Msg::TokenDone(wish(Deed::Revoke), Ok(())));
    let state = |model: &Model| model.held.current().unwrap().state;
    assert_eq!(state(&model), TokenState::Revoked);
    // The next call brings the same token along: it is still a revoked one.
    update(
        &mut model,
        Msg::Token(readable("note-service", "note.read")),
    );
    assert_eq!(state(&model), TokenState::Revoked);
    assert_eq!(press(&mut model, Char('x')), [], "once is enough");
    assert_eq!(
        click(&mut model, "r refresh"),
        [Effect::Token(wish(Deed::Refresh))]
    );
    let failure = Failure::new(Kind::Unreachable, "nobody answers");
    update(
        &mut model,
        Msg::TokenDone(wish(Deed::Refresh), Err(failure)),
    );
    assert_eq!(model.news, Some(News::Bad("nobody answers".to_owned())));
    let mut fresh = readable("note-service", "note.read");
    fresh.expires_at += 60;
    update(&mut model, Msg::Token(fresh));
    assert_eq!(state(&model), TokenState::Good);
    assert_eq!(model.held.tokens.len(), 3);
}

#[test]
fn the_trace_follows_the_newest_until_somebody_looks_back() {
    let mut model = with_exchanges();
    assert_eq!(model.seen.at, 4);
    press(&mut model, Up);
    let next = || {
        Msg::Seen(Box::new(exchange(
            "note-service",
            "GET",
            "/note",
            Some(200),
        )))
    };
    update(&mut model, next());
    assert_eq!(model.seen.at, 3);
    press_all(&mut model, &[End]);
    update(&mut model, next());
    assert_eq!(model.seen.at, 6);
    for _ in 0..600 {
        update(&mut model, next());
    }
    assert_eq!((model.seen.exchanges.len(), model.seen.count()), (500, 607));
    picture(&model, 80, 24);
}

#[test]
fn an_experiment_is_predicted_run_and_asked_again() {
    let mut model = loaded();
    press_all(&mut model, &[Char('4'), Char('c'), Char('b')]);
    assert_eq!(model.trials.all[0].prediction, Some(1));
    assert_eq!(press(&mut model, Enter), [Effect::Begin("wrong-audience")]);
    assert_eq!(
        press_all(&mut model, &[Enter, Char('a')]),
        [],
        "it runs already"
    );
    // Another one has to wait.
    press(&mut model, Down);
    assert_eq!(press(&mut model, Enter), []);
    assert_eq!(press(&mut model, Esc), [Effect::Stop]);
    update(
        &mut model,
        Msg::Trial(Note::Step("Get a token.".to_owned())),
    );
    let seen = Box::new(exchange("note-service", "GET", "/note", Some(200)));
    update(&mut model, Msg::Trial(Note::Exchange(seen)));
    assert_eq!(model.seen.count(), 1, "it stands in the trace as well");
    update(&mut model, Msg::TrialEnded(Box::new(Ok(report()))));
    let TrialStage::Done(report) = &model.trials.all[0].stage else {
        panic!("{:?}", model.trials.all[0]);
    };
    assert_eq!(report.judgement().unwrap(), "You said b, and so it was.");
    press(&mut model, Up);
    assert_eq!(click(&mut model, "Enter: ask again"), []);
    assert!(matches!(model.trials.all[0].stage, TrialStage::Asked));
    click(&mut model, "403: the token is accepted");
    assert_eq!(model.trials.all[0].prediction, Some(2));
    assert_eq!(
        click(&mut model, "Enter: see"),
        [Effect::Begin("wrong-audience")]
    );
    let failure = Failure::new(Kind::Unreachable, "nobody answers").hint("start it");
    update(&mut model, Msg::TrialEnded(Box::new(Err(failure))));
    assert!(
        picture(&model, 80, 24)
            .to_string()
            .contains("nobody answers")
    );
}

#[test]
fn each_experiment_has_its_question_and_its_answers_on_a_small_screen() {
    let mut model = loaded();
    press(&mut model, Char('4'));
    for experiment in EXPERIMENTS {
        let picture = picture(&model, 80, 24).to_string();
        for place in 0..experiment.answers.len() {
            let first = experiment.answers[place].split(' ').next().unwrap();
            let answer = format!("  {}  {first}", lab::letter(place));
            assert!(picture.contains(&answer), "{}: {picture}", experiment.name);
        }
        assert!(
            picture.contains("[Enter: run it"),
            "{}: {picture}",
            experiment.name
        );
        press(&mut model, Down);
    }
}

#[test]
fn the_wheel_moves_what_is_read() {
    let mut model = with_tokens();
    update(&mut model, Msg::Wheel(1));
    assert_eq!(model.held.scroll, 2);
    update(&mut model, Msg::Wheel(-3));
    assert_eq!(model.held.scroll, 0);
    press(&mut model, Char('3'));
    assert_eq!(update(&mut model, Msg::Wheel(1)), []);
}

#[test]
fn the_tabs_as_they_look() {
    for (width, height) in [(80, 24), (120, 40)] {
        let size = format!("{width}x{height}");
        let mut model = with_tokens();
        let effects = press_all(&mut model, &[KeyCode::Home, Char('x')]);
        let [Effect::Token(wish)] = effects.as_slice() else {
            panic!("{effects:?}");
        };
        update(&mut model, Msg::TokenDone(wish.clone(), Ok(())));
        press(&mut model, End);
        insta::assert_snapshot!(format!("tokens_{size}"), picture(&model, width, height));
        let mut model = with_exchanges();
        insta::assert_snapshot!(format!("trace_{size}"), picture(&model, width, height));
        press_all(&mut model, &[Up, Enter]);
        insta::assert_snapshot!(format!("trace_open_{size}"), picture(&model, width, height));
        let mut model = loaded();
        press_all(&mut model, &[Char('4'), Char('b')]);
        insta::assert_snapshot!(format!("lab_asked_{size}"), picture(&model, width, height));
        press(&mut model, Enter);
        update(
            &mut model,
            Msg::Trial(Note::Step("Get a token for the notes.".to_owned())),
        );
        let seen = exchange("auth-provider", "POST", "/auth/oauth/token", Some(200));
        update(&mut model, Msg::Trial(Note::Exchange(Box::new(seen))));
        insta::assert_snapshot!(
            format!("lab_running_{size}"),
            picture(&model, width, height)
        );
        update(&mut model, Msg::TrialEnded(Box::new(Ok(report()))));
        insta::assert_snapshot!(format!("lab_done_{size}"), picture(&model, width, height));
    }
    let mut surprising = report();
    surprising.answer = Some(0);
    surprising.what = "The calendar answered 200".to_owned();
    let mut model = loaded();
    press_all(&mut model, &[Char('4'), Enter]);
    update(&mut model, Msg::TrialEnded(Box::new(Ok(surprising))));
    insta::assert_snapshot!("lab_surprised_80x24", picture(&model, 80, 24));
}

#[test]
fn no_size_is_too_small_for_any_tab() {
    let mut screens = vec![fresh(), with_tokens(), with_exchanges()];
    let mut open = with_exchanges();
    press(&mut open, Enter);
    screens.push(open);
    for keys in [
        &[Char('2')][..],
        &[Char('3')],
        &[Char('4')],
        &[Char('4'), Enter],
    ] {
        let mut model = fresh();
        press_all(&mut model, keys);
        screens.push(model);
    }
    let mut done = fresh();
    press_all(&mut done, &[Char('4'), Enter]);
    update(&mut done, Msg::TrialEnded(Box::new(Ok(report()))));
    press_all(&mut done, &[PageDown, PageDown]);
    screens.push(done);
    for model in &screens {
        for width in (0..30).chain([59, 60, 61, 115, 116, 117, 300]) {
            for height in [0, 1, 2, 3, 4, 5, 6, 9, 24, 100] {
                picture(model, width, height);
            }
        }
    }
}

#[test]
fn every_key_of_a_tab_does_something() {
    let screens = [with_tokens(), with_exchanges()];
    for model in screens {
        for choice in choices(&model) {
            let does_something = choice.on.iter().any(|(key, action)| {
                let (mut after, before) = (model.clone(), format!("{model:?}"));
                let effects = press(&mut after, *key);
                *action == Action::Quit || !effects.is_empty() || format!("{after:?}") != before
            });
            assert!(does_something, "{choice:?}");
        }
    }
}
