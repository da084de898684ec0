//! What keys and answers do to the model.

use assistant_cli::{
    api::Service,
    failure::{Failure, Kind},
    records::{EventFields, NoteFields},
    ui::{Call, Effect, Front, Model, Msg, News, Remote, Stage, choices, update},
};
use jiff::ToSpan;
use ratatui::crossterm::event::{
    KeyCode::{
        self, BackTab, Backspace, Char, Delete, Down, End, Enter, Esc, Home, Left, Right, Tab, Up,
    },
    KeyEvent, KeyEventKind, KeyModifiers,
};

use crate::world::{NOW, event, fresh, loaded, note, now, press, type_in, unreachable};

/// The window in front, in a word, and for a form its field.
fn front(model: &Model) -> String {
    match &model.front {
        Front::Columns => "columns".to_owned(),
        Front::Form(form) => {
            let field = form.fields[form.at].name.label();
            match form.id {
                Some(id) => format!("{} {id}, {field}", form.service.thing()),
                None => format!("new {}, {field}", form.service.thing()),
            }
        }
        Front::Confirm(row) => format!("delete {} {}?", row.service.thing(), row.id),
        Front::Help => "help".to_owned(),
    }
}

fn press_all(model: &mut Model, keys: &[KeyCode]) -> Vec<Effect> {
    keys.iter().flat_map(|key| press(model, *key)).collect()
}

fn form_stage(model: &Model) -> &Stage {
    match &model.front {
        Front::Form(form) => &form.stage,
        other => panic!("no form is open: {other:?}"),
    }
}

#[test]
fn keys_move_between_cards_and_windows() {
    for (keys, in_front, side, at) in [
        (&[][..], "columns", Service::Note, 0),
        (&[Down], "columns", Service::Note, 1),
        (&[Down, Down, Down, Down], "columns", Service::Note, 2),
        (&[Up], "columns", Service::Note, 0),
        (&[End], "columns", Service::Note, 2),
        (&[End, Home], "columns", Service::Note, 0),
        (&[Down, Right, Left], "columns", Service::Note, 1),
        (&[Right, Right, Down], "columns", Service::Calendar, 1),
        (&[Enter], "note 1, Title", Service::Note, 0),
        (&[End, Enter], "new note, Title", Service::Note, 2),
        (&[Right, Enter], "event 3, Title", Service::Calendar, 0),
        (
            &[Right, End, Enter],
            "new event, Title",
            Service::Calendar,
            2,
        ),
        (&[Enter, Tab], "note 1, Description", Service::Note, 0),
        (&[Enter, Tab, Tab], "note 1, Title", Service::Note, 0),
        (
            &[Right, Enter, BackTab],
            "event 3, End",
            Service::Calendar,
            0,
        ),
        (
            &[Right, Enter, Up, Up],
            "event 3, Start",
            Service::Calendar,
            0,
        ),
        (
            &[Right, Enter, Down],
            "event 3, Description",
            Service::Calendar,
            0,
        ),
        (&[Enter, Esc], "columns", Service::Note, 0),
        (&[Delete], "delete note 1?", Service::Note, 0),
        (
            &[Right, Down, Backspace],
            "delete event 7?",
            Service::Calendar,
            1,
        ),
        // There is nothing to delete on "Add".
        (&[End, Delete], "columns", Service::Note, 2),
        (&[Delete, Esc], "columns", Service::Note, 0),
        (&[Delete, Char('n')], "columns", Service::Note, 0),
        (&[Char('?')], "help", Service::Note, 0),
        (&[Char('?'), Esc], "columns", Service::Note, 0),
        (&[Char('?'), Char('q')], "columns", Service::Note, 0),
        // On another tab the cards stay where they are.
        (&[Char('t'), Down], "columns", Service::Note, 0),
        (&[Char('t'), Char('1'), Down], "columns", Service::Note, 1),
        // In a form a letter is a letter.
        (&[Enter, Char('q')], "note 1, Title", Service::Note, 0),
        (&[Char('x'), Esc, Tab], "columns", Service::Note, 0),
    ] {
        let mut model = loaded();
        assert_eq!(press_all(&mut model, keys), [], "{keys:?} needs no network");
        let column = match model.side {
            Service::Note => model.notes.at,
            Service::Calendar => model.events.at,
        };
        let is = (front(&model), model.side, column);
        assert_eq!(is, (in_front.to_owned(), side, at), "{keys:?}");
    }
}

#[test]
fn every_key_in_the_help_line_does_something() {
    for keys in [
        &[][..],
        &[Right],
        &[End],
        &[Enter],
        &[Delete],
        &[Char('?')],
        &[Char('t')],
        &[Char('3')],
        &[Char('4')],
    ] {
        let mut model = loaded();
        press_all(&mut model, keys);
        for choice in choices(&model) {
            let does_something = choice.on.iter().any(|(key, _)| {
                let (mut after, before) = (model.clone(), format!("{model:?}"));
                let effects = press(&mut after, *key);
                !effects.is_empty() || format!("{after:?}") != before
            });
            assert!(does_something, "{choice:?} after {keys:?}");
        }
    }
}

#[test]
fn r_asks_for_both_lists_and_not_twice() {
    let mut model = fresh();
    let both = [Call::LoadNotes, Call::LoadEvents].map(Effect::Call);
    assert_eq!(press(&mut model, Char('r')), both);
    assert_eq!(press(&mut model, Char('r')), []);
    update(&mut model, Msg::Events(Err(unreachable(Service::Calendar))));
    assert_eq!(
        press(&mut model, Char('r')),
        [Effect::Call(Call::LoadEvents)]
    );
    update(&mut model, Msg::Events(Ok(vec![event(1, "A", 0)])));
    update(&mut model, Msg::Notes(Ok(vec![])));
    assert_eq!(press(&mut model, Char('r')), both);
}

#[test]
fn a_reload_keeps_the_cursor_on_its_card() {
    let mut model = loaded();
    press_all(&mut model, &[Down, Char('r')]);
    assert_eq!(
        model.notes.cards().len(),
        2,
        "the old cards stay while loading"
    );
    let notes = [0, 1, 2].map(|id| note(id, "A", ""));
    update(&mut model, Msg::Notes(Ok(notes.to_vec())));
    assert_eq!(model.notes.current().map(|note| note.id), Some(2));
    press(&mut model, Char('r'));
    update(&mut model, Msg::Notes(Ok(vec![note(0, "A", "")])));
    assert_eq!(
        model.notes.at, 1,
        "its card is gone: the cursor stays in the list"
    );
}

#[test]
fn a_failed_reload_keeps_the_cards() {
    let mut model = loaded();
    press(&mut model, Char('r'));
    update(&mut model, Msg::Notes(Err(unreachable(Service::Note))));
    assert_eq!(model.notes.cards().len(), 2);
    assert!(matches!(model.notes.rows, Remote::Failed(..)));
}

#[test]
fn quitting_works_from_everywhere() {
    for keys in [&[][..], &[Enter], &[Delete], &[Char('?')]] {
        let mut model = loaded();
        press_all(&mut model, keys);
        let ctrl_c = KeyEvent::new(Char('c'), KeyModifiers::CONTROL);
        assert_eq!(
            update(&mut model, Msg::Key(ctrl_c)),
            [Effect::Quit],
            "{keys:?}"
        );
    }
    assert_eq!(press(&mut loaded(), Char('q')), [Effect::Quit]);
}

#[test]
fn the_release_of_a_key_is_no_second_press() {
    let mut model = loaded();
    let release = KeyEvent::new_with_kind(Char('q'), KeyModifiers::NONE, KeyEventKind::Release);
    assert_eq!(update(&mut model, Msg::Key(release)), []);
}

#[test]
fn a_new_note_is_sent_whole() {
    let mut model = loaded();
    press_all(&mut model, &[End, Enter, Tab]);
    type_in(&mut model, "Q?");
    let fields = NoteFields {
        title: Some("Untitled Note".to_owned()),
        description: Some("Q?".to_owned()),
    };
    let save = Call::SaveNote {
        form: 1,
        id: None,
        fields,
    };
    assert_eq!(press(&mut model, Enter), [Effect::Call(save)]);
    assert_eq!(form_stage(&model), &Stage::Saving);
    assert_eq!(press(&mut model, Enter), [], "one save at a time");
    update(
        &mut model,
        Msg::NoteSaved(1, Ok(note(9, "Untitled Note", "Q?"))),
    );
    assert_eq!(front(&model), "columns");
    assert_eq!(model.notes.current().map(|note| note.id), Some(9));
    assert_eq!(model.news, Some(News::Good("Saved note 9".to_owned())));
}

#[test]
fn only_what_was_changed_is_sent() {
    let mut model = loaded();
    press(&mut model, Enter);
    type_in(&mut model, "!");
    let fields = NoteFields {
        title: Some("Meeting with A!".to_owned()),
        description: None,
    };
    let save = Call::SaveNote {
        form: 1,
        id: Some(1),
        fields,
    };
    assert_eq!(press(&mut model, Enter), [Effect::Call(save)]);

    let mut model = loaded();
    assert_eq!(
        press_all(&mut model, &[Enter, Enter]),
        [],
        "nothing changed, nothing sent"
    );
    assert_eq!(front(&model), "columns");
}

#[test]
fn start_and_end_of_an_event_are_saved() {
    let mut model = loaded();
    press_all(&mut model, &[Right, Enter, Tab, Tab]);
    clear_field(&mut model);
    type_in(&mut model, "tomorrow 15:00");
    press(&mut model, Tab);
    clear_field(&mut model);
    type_in(&mut model, "+90m");
    let start = (NOW + 29 * 3600) * 1000;
    let fields = EventFields {
        start: Some(start),
        end: Some(start + 90 * 60_000),
        ..EventFields::default()
    };
    let save = Call::SaveEvent {
        form: 1,
        id: Some(3),
        fields,
    };
    assert_eq!(press(&mut model, Enter), [Effect::Call(save)]);
    let mut moved = event(3, "Meeting with A", 29 * 60);
    moved.end = start + 90 * 60_000;
    update(&mut model, Msg::EventSaved(1, Ok(moved)));
    let order: Vec<u64> = model.events.cards().iter().map(|event| event.id).collect();
    assert_eq!(order, [7, 3], "it moved to its new place");
    assert_eq!(model.events.at, 1, "and the cursor with it");
}

#[test]
fn a_new_event_begins_now_and_lasts_an_hour() {
    let mut model = loaded();
    press_all(&mut model, &[Right, End, Enter]);
    let fields = EventFields {
        title: Some("Untitled Event".to_owned()),
        description: Some(String::new()),
        start: Some(NOW * 1000),
        end: Some((NOW + 3600) * 1000),
    };
    let save = Call::SaveEvent {
        form: 1,
        id: None,
        fields,
    };
    assert_eq!(press(&mut model, Enter), [Effect::Call(save)]);
}

#[test]
fn a_form_with_a_mistake_shows_it_at_its_field_and_stays() {
    for (keys_to_field, text, error) in [
        (0, "", "write at least one character"),
        (2, "", "no date"),
        (2, "soonish", "no date"),
        (3, "2026-11-21 09:59", "the end lies before the start"),
        (2, "in 3 hours", "the end lies before the start"),
    ] {
        let mut model = loaded();
        press_all(&mut model, &[Right, Enter]);
        press_all(&mut model, &vec![Tab; keys_to_field]);
        clear_field(&mut model);
        type_in(&mut model, text);
        assert_eq!(press(&mut model, Enter), [], "{text:?}");
        let Front::Form(form) = &mut model.front else {
            panic!("the form was closed by {text:?}");
        };
        let shown = form.current().error.clone().unwrap_or_default();
        assert!(shown.contains(error), "{text:?}: {shown}");
        // What is written next takes the error away.
        type_in(&mut model, "1");
        let Front::Form(form) = &mut model.front else {
            panic!("the form was closed by a digit");
        };
        assert_eq!(form.current().error, None);
    }
}

#[test]
fn a_failed_save_loses_nothing_and_can_be_repeated() {
    let mut model = loaded();
    press_all(&mut model, &[End, Enter]);
    type_in(&mut model, "Half a thought");
    let first = press(&mut model, Enter);
    update(
        &mut model,
        Msg::NoteSaved(1, Err(unreachable(Service::Note))),
    );
    assert!(matches!(form_stage(&model), Stage::Failed(_)));
    assert_eq!(press(&mut model, Enter), first);
}

#[test]
fn an_answer_to_a_form_that_was_left_is_told_in_the_news() {
    let mut model = loaded();
    press(&mut model, Enter);
    type_in(&mut model, "!");
    press_all(&mut model, &[Enter, Esc, Down, Enter]);
    update(
        &mut model,
        Msg::NoteSaved(1, Err(unreachable(Service::Note))),
    );
    assert_eq!(
        front(&model),
        "note 2, Title",
        "the other form is not touched"
    );
    assert_eq!(form_stage(&model), &Stage::Writing);
    assert!(matches!(&model.news, Some(News::Bad(text)) if text.contains("was not saved")));
    update(
        &mut model,
        Msg::NoteSaved(1, Ok(note(1, "Meeting with A!", ""))),
    );
    assert_eq!(front(&model), "note 2, Title");
    assert_eq!(model.notes.cards()[0].title, "Meeting with A!");
}

#[test]
fn a_deletion_is_asked_about_then_done() {
    let mut model = loaded();
    press(&mut model, Delete);
    let Front::Confirm(row) = model.front.clone() else {
        panic!("nothing was asked");
    };
    assert_eq!(row.title, "Meeting with A");
    let delete = Effect::Call(Call::Delete(row.clone()));
    assert_eq!(press(&mut model, Char('y')), std::slice::from_ref(&delete));
    assert_eq!(
        press_all(&mut model, &[Delete, Enter, Esc]),
        [],
        "it is being deleted already"
    );
    update(
        &mut model,
        Msg::Deleted(row.clone(), Err(unreachable(Service::Note))),
    );
    assert_eq!(model.notes.cards().len(), 2);
    assert!(
        matches!(&model.news, Some(News::Bad(text)) if text.starts_with("note 1 is still there"))
    );
    assert_eq!(press_all(&mut model, &[Delete, Enter]), [delete]);
    update(&mut model, Msg::Deleted(row, Ok(())));
    let left: Vec<u64> = model.notes.cards().iter().map(|note| note.id).collect();
    assert_eq!(left, [2]);
    assert_eq!(model.notes.at, 0);
}

#[test]
fn what_somebody_else_deleted_goes_from_the_screen() {
    let mut model = loaded();
    press(&mut model, Delete);
    let Front::Confirm(row) = model.front.clone() else {
        panic!("nothing was asked");
    };
    press(&mut model, Enter);
    let gone = Failure::new(Kind::NotFound, "there is no note 1");
    update(&mut model, Msg::Deleted(row, Err(gone)));
    assert_eq!(model.notes.cards().len(), 1);
    assert_eq!(
        model.news,
        Some(News::Good("note 1 was gone already".to_owned()))
    );
}

#[test]
fn a_row_saved_while_its_list_loads_asks_for_the_list_again() {
    let mut model = fresh();
    press_all(&mut model, &[Enter, Enter]);
    let saved = Msg::NoteSaved(1, Ok(note(9, "Untitled Note", "")));
    assert_eq!(update(&mut model, saved), [Effect::Call(Call::LoadNotes)]);
    assert!(model.notes.rows.is_loading());
}

#[test]
fn a_paste_is_one_line_and_only_for_forms() {
    let mut model = loaded();
    update(&mut model, Msg::Paste("q".to_owned()));
    assert_eq!(front(&model), "columns");
    press_all(&mut model, &[End, Enter]);
    update(
        &mut model,
        Msg::Paste("two\nlines\u{1b}[2J 日本\n".to_owned()),
    );
    let Front::Form(form) = &mut model.front else {
        panic!("the form was closed");
    };
    assert_eq!(form.current().input.value(), "two lines [2J 日本");
}

#[test]
fn the_countdown_follows_the_ticks_down_to_zero() {
    let mut model = loaded();
    let left = |model: &Model| {
        model
            .token
            .as_ref()
            .map(|token| token.time_left(&model.now))
    };
    assert_eq!(left(&model), Some(3590));
    update(&mut model, Msg::Tick(now() + 1.second()));
    assert_eq!(left(&model), Some(3589));
    update(&mut model, Msg::Tick(now() + 2.hours()));
    assert_eq!(left(&model), Some(0));
}

fn clear_field(model: &mut Model) {
    let ctrl_u = KeyEvent::new(Char('u'), KeyModifiers::CONTROL);
    assert_eq!(update(model, Msg::Key(ctrl_u)), []);
}
