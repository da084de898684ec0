//! What the user sees, as pictures. They are made again with `INSTA_UPDATE=always`.

use assistant_cli::{
    api::Service,
    failure::{Failure, Kind},
    ui::{Model, Msg, update, view},
};
use ratatui::{Terminal, backend::TestBackend, crossterm::event::KeyCode};

use crate::world::{event, fresh, loaded, note, press, type_in, unreachable};

pub(crate) fn picture(model: &Model, width: u16, height: u16) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| drop(view(model, frame))).unwrap();
    terminal.backend().clone()
}

#[test]
fn before_the_first_key() {
    insta::assert_snapshot!(picture(&fresh(), 80, 24));
}

#[test]
fn notes_and_events() {
    insta::assert_snapshot!("notes_and_events_80x24", picture(&loaded(), 80, 24));
    insta::assert_snapshot!("notes_and_events_120x40", picture(&loaded(), 120, 40));
    insta::assert_snapshot!("notes_and_events_40x12", picture(&loaded(), 40, 12));
}

#[test]
fn a_service_that_is_down() {
    let mut model = fresh();
    press(&mut model, KeyCode::Char('r'));
    update(&mut model, Msg::Notes(Ok(vec![])));
    update(&mut model, Msg::Events(Err(unreachable(Service::Calendar))));
    insta::assert_snapshot!(picture(&model, 80, 24));
}

#[test]
fn reloading_keeps_what_is_there_on_the_screen() {
    let mut model = loaded();
    press(&mut model, KeyCode::Char('r'));
    insta::assert_snapshot!(picture(&model, 80, 24));
}

#[test]
fn a_long_list_scrolls() {
    let mut model = loaded();
    let events =
        (1..=25).map(|id| event(id, &format!("Event {id}"), 60 * i64::try_from(id).unwrap()));
    update(&mut model, Msg::Events(Ok(events.collect())));
    press(&mut model, KeyCode::Right);
    for _ in 0..12 {
        press(&mut model, KeyCode::Down);
    }
    insta::assert_snapshot!(picture(&model, 80, 24));
}

#[test]
fn an_event_with_a_date_that_cannot_be_read() {
    let mut model = loaded();
    press(&mut model, KeyCode::Right);
    press(&mut model, KeyCode::Enter);
    for _ in 0..3 {
        press(&mut model, KeyCode::Tab);
    }
    type_in(&mut model, " soonish");
    press(&mut model, KeyCode::Enter);
    insta::assert_snapshot!("unreadable_date_80x24", picture(&model, 80, 24));
    insta::assert_snapshot!("unreadable_date_40x12", picture(&model, 40, 12));
}

#[test]
fn a_note_that_could_not_be_saved() {
    let mut model = loaded();
    press(&mut model, KeyCode::End);
    press(&mut model, KeyCode::Enter);
    type_in(&mut model, "Half a thought");
    press(&mut model, KeyCode::Enter);
    update(
        &mut model,
        Msg::NoteSaved(1, Err(unreachable(Service::Note))),
    );
    insta::assert_snapshot!(picture(&model, 80, 24));
}

#[test]
fn a_field_that_the_service_refused() {
    let mut model = loaded();
    press(&mut model, KeyCode::Enter);
    type_in(&mut model, "!");
    press(&mut model, KeyCode::Enter);
    let why = "note-service refused the request: `title` does not fit: it is too long: \
               write at most 200 characters";
    let mut failure = Failure::new(Kind::Failed, why);
    failure.field = Some("title".to_owned());
    update(&mut model, Msg::NoteSaved(1, Err(failure)));
    insta::assert_snapshot!(picture(&model, 80, 24));
}

#[test]
fn the_question_before_a_deletion() {
    let mut model = loaded();
    press(&mut model, KeyCode::Delete);
    insta::assert_snapshot!("question", picture(&model, 80, 24));
    press(&mut model, KeyCode::Char('y'));
    insta::assert_snapshot!("deleting", picture(&model, 80, 24));
}

#[test]
fn all_keys() {
    let mut model = loaded();
    press(&mut model, KeyCode::Char('?'));
    insta::assert_snapshot!(picture(&model, 80, 24));
}

#[test]
fn no_size_is_too_small_for_any_screen() {
    let mut screens = vec![fresh(), loaded()];
    for keys in [
        &[KeyCode::Enter][..],
        &[KeyCode::Right, KeyCode::Enter, KeyCode::Up],
        &[KeyCode::Delete],
        &[KeyCode::Char('?')],
        &[KeyCode::Char('t')],
    ] {
        let mut model = loaded();
        for key in keys {
            press(&mut model, *key);
        }
        screens.push(model);
    }
    let mut failed = loaded();
    update(&mut failed, Msg::Notes(Err(unreachable(Service::Note))));
    update(&mut failed, Msg::Events(Ok(vec![])));
    screens.push(failed);
    for model in &screens {
        for (width, height) in [
            (1, 1),
            (1, 50),
            (200, 1),
            (2, 3),
            (5, 5),
            (10, 4),
            (20, 6),
            (59, 9),
            (61, 8),
            (500, 200),
        ] {
            picture(model, width, height);
        }
    }
}

#[test]
fn texts_of_any_script_stay_in_their_cards() {
    let mut model = loaded();
    let title = "👩‍👩‍👧‍👦 e\u{301}\u{200b}ابجد\u{1b}[31m\t終わりのない長い題名がここにあります";
    update(&mut model, Msg::Notes(Ok(vec![note(1, title, title)])));
    insta::assert_snapshot!(picture(&model, 80, 12));
}
