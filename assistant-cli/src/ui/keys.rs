//! Which keys do something now.
//!
//! One list, made from the model: the line at the bottom prints it, and `update` goes by it. So
//! the line cannot promise a key that does nothing, nor hide one that does.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    form::Stage,
    model::{Front, Model},
};
use crate::api::Service;

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Get the tokens and load both lists.
    Load,
    /// Move the cursor up or down by so many cards.
    Go(isize),
    /// Move the cursor into this column.
    Side(Service),
    /// Open the form for the card under the cursor.
    Open,
    /// Ask whether the card under the cursor is to be deleted.
    AskDelete,
    /// Delete it.
    Delete,
    /// Move to another field of the form.
    Field(isize),
    /// Send the form.
    Save,
    /// Show what is in the token.
    Token,
    /// Show all keys.
    Help,
    /// Back to the columns.
    Leave,
    /// End the program.
    Quit,
}

/// Keys that belong together, with what they do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The keys as the line at the bottom names them. Empty: they are not named there.
    pub keys: &'static str,
    /// What they do, in a word or two.
    pub what: &'static str,
    /// Each key with its action.
    pub on: Vec<(KeyCode, Action)>,
}

fn choice<const N: usize>(
    keys: &'static str,
    what: &'static str,
    on: [(KeyCode, Action); N],
) -> Choice {
    let on = on.to_vec();
    Choice { keys, what, on }
}

/// What may be pressed now. In a form, all other keys write.
pub fn choices(model: &Model) -> Vec<Choice> {
    use KeyCode::{BackTab, Backspace, Char, Delete, Down, Enter, Esc, Tab, Up};
    match &model.front {
        Front::Columns => on_columns(model),
        Front::Form(form) if form.stage == Stage::Saving => {
            vec![choice("Esc", "leave", [(Esc, Action::Leave)])]
        }
        Front::Form(_) => vec![
            choice("Enter", "save", [(Enter, Action::Save)]),
            choice(
                "Tab ↑↓",
                "other field",
                [
                    (Tab, Action::Field(1)),
                    (Down, Action::Field(1)),
                    (BackTab, Action::Field(-1)),
                    (Up, Action::Field(-1)),
                ],
            ),
            choice("Esc", "leave without saving", [(Esc, Action::Leave)]),
        ],
        Front::Confirm(_) => vec![
            choice(
                "y Enter",
                "delete",
                [(Char('y'), Action::Delete), (Enter, Action::Delete)],
            ),
            choice(
                "n Esc",
                "keep",
                [(Char('n'), Action::Leave), (Esc, Action::Leave)],
            ),
        ],
        Front::Help | Front::Token => {
            let keys = [
                Esc,
                Enter,
                Char('?'),
                Char('t'),
                Char('q'),
                Backspace,
                Delete,
            ];
            vec![choice("Esc", "back", keys.map(|key| (key, Action::Leave)))]
        }
    }
}

fn on_columns(model: &Model) -> Vec<Choice> {
    use KeyCode::{
        Backspace, Char, Delete, Down, End, Enter, Home, Left, PageDown, PageUp, Right, Up,
    };
    const FAR: isize = isize::MAX / 2;
    let mut choices = Vec::new();
    let untouched = model.notes.rows.known().is_none() && model.events.rows.known().is_none();
    if !(model.notes.rows.is_loading() && model.events.rows.is_loading()) {
        let what = if untouched { "get tokens" } else { "reload" };
        choices.push(choice("r", what, [(Char('r'), Action::Load)]));
    }
    choices.push(choice(
        "←↑↓→",
        "move",
        [
            (Left, Action::Side(Service::Note)),
            (Right, Action::Side(Service::Calendar)),
            (Up, Action::Go(-1)),
            (Down, Action::Go(1)),
            (PageUp, Action::Go(-5)),
            (PageDown, Action::Go(5)),
            (Home, Action::Go(-FAR)),
            (End, Action::Go(FAR)),
        ],
    ));
    let row = model.selected();
    let open = if row.is_some() { "edit" } else { "add" };
    choices.push(choice("Enter", open, [(Enter, Action::Open)]));
    if row.is_some_and(|row| !model.deleting.contains(&row)) {
        let ask = [(Delete, Action::AskDelete), (Backspace, Action::AskDelete)];
        choices.push(choice("Del", "delete", ask));
    }
    if model.token.is_some() {
        choices.push(choice("t", "token", [(Char('t'), Action::Token)]));
    }
    choices.push(choice("?", "help", [(Char('?'), Action::Help)]));
    choices.push(choice("q", "quit", [(Char('q'), Action::Quit)]));
    choices
}

/// What this key does now, if anything. Ctrl-C always quits.
pub(super) fn action(model: &Model, key: KeyEvent) -> Option<Action> {
    let plain = key.modifiers.difference(KeyModifiers::SHIFT).is_empty();
    if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
        return Some(Action::Quit);
    }
    let choices = choices(model);
    let mut keys = choices.iter().flat_map(|choice| &choice.on);
    let (_, action) = keys.find(|(code, _)| plain && *code == key.code)?;
    Some(*action)
}
