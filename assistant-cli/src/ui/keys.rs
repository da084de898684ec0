//! Which keys do something now.
//!
//! One list, made from the model: the line at the bottom prints it, and `update` goes by it. So
//! the line cannot promise a key that does nothing, nor hide one that does.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    form::Stage,
    held::{Deed, TokenState},
    model::{Front, Model, Tab},
    trials::TrialStage,
};
use crate::api::Service;

const FAR: isize = isize::MAX / 2;

/// Keys for answers, in their order.
const LETTERS: [char; 4] = ['a', 'b', 'c', 'd'];

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Get the tokens and load both lists.
    Load,
    /// Move the cursor up or down by so many cards.
    Go(isize),
    /// Show this tab.
    Tab(Tab),
    /// Move the cursor into this column.
    Side(Service),
    /// Move the cursor to this card.
    Card(Service, usize),
    /// Move the cursor to this row of the tab.
    Row(usize),
    /// Move what is explained by so many lines.
    Scroll(isize),
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
    /// Do something with the token under the cursor.
    Token(Deed),
    /// Show or hide the inside of the exchange under the cursor.
    Expand,
    /// Say what will happen.
    Predict(usize),
    /// Begin the experiment under the cursor, or ask its question again.
    Run,
    /// Break off the experiment that goes on.
    Stop,
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
    use KeyCode::{BackTab, Backspace, Char, Delete, Down, Enter, Esc, Up};
    match &model.front {
        Front::Columns => {
            let mut choices = match model.tab {
                Tab::Board => on_board(model),
                Tab::Tokens => on_tokens(model),
                Tab::Trace => on_trace(model),
                Tab::Lab => on_lab(model),
            };
            choices.push(tabs(model.tab));
            choices.push(choice("?", "help", [(Char('?'), Action::Help)]));
            choices.push(choice("q", "quit", [(Char('q'), Action::Quit)]));
            choices
        }
        Front::Form(form) if form.stage == Stage::Saving => {
            vec![choice("Esc", "leave", [(Esc, Action::Leave)])]
        }
        Front::Form(_) => vec![
            choice("Enter", "save", [(Enter, Action::Save)]),
            choice(
                "Tab ↑↓",
                "other field",
                [
                    (KeyCode::Tab, Action::Field(1)),
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
        Front::Help => {
            let keys = [Esc, Enter, Char('?'), Char('q'), Backspace, Delete];
            vec![choice("Esc", "back", keys.map(|key| (key, Action::Leave)))]
        }
    }
}

/// The line at the top names these keys.
fn tabs(now: Tab) -> Choice {
    let mut on = vec![
        (KeyCode::Tab, Action::Tab(now.next(1))),
        (KeyCode::BackTab, Action::Tab(now.next(-1))),
    ];
    on.extend(
        Tab::ALL.into_iter().zip('1'..).filter_map(|(tab, key)| {
            (tab != now).then_some((KeyCode::Char(key), Action::Tab(tab)))
        }),
    );
    Choice {
        keys: "",
        what: "other tab",
        on,
    }
}

/// Up and down in a list.
fn moves(keys: &'static str) -> Choice {
    use KeyCode::{Down, End, Home, Up};
    let on = [
        (Up, Action::Go(-1)),
        (Down, Action::Go(1)),
        (Home, Action::Go(-FAR)),
        (End, Action::Go(FAR)),
    ];
    choice(keys, "move", on)
}

fn scrolls() -> Choice {
    use KeyCode::{PageDown, PageUp};
    let on = [(PageDown, Action::Scroll(5)), (PageUp, Action::Scroll(-5))];
    choice("PgDn", "more", on)
}

fn on_tokens(model: &Model) -> Vec<Choice> {
    use KeyCode::Char;
    let Some(held) = model.held.current() else {
        return get_tokens(model).into_iter().collect();
    };
    let mut choices = Vec::new();
    if !matches!(held.state, TokenState::Busy(_)) {
        choices.push(choice(
            "r",
            "refresh",
            [(Char('r'), Action::Token(Deed::Refresh))],
        ));
    }
    if held.state == TokenState::Good {
        choices.push(choice(
            "x",
            "revoke",
            [(Char('x'), Action::Token(Deed::Revoke))],
        ));
    }
    if !matches!(held.state, TokenState::Busy(_)) {
        choices.push(choice(
            "c",
            "copy",
            [(Char('c'), Action::Token(Deed::Copy))],
        ));
    }
    if model.held.tokens.len() > 1 {
        choices.push(moves("↑↓"));
    }
    choices.push(scrolls());
    choices
}

fn on_trace(model: &Model) -> Vec<Choice> {
    use KeyCode::{Char, Enter, PageDown, PageUp};
    if model.seen.exchanges.is_empty() {
        return get_tokens(model).into_iter().collect();
    }
    let what = if model.seen.is_open { "close" } else { "open" };
    let open = [(Enter, Action::Expand), (Char(' '), Action::Expand)];
    let mut choices = vec![choice("Enter", what, open)];
    if model.seen.exchanges.len() > 1 {
        let mut moves = moves("↑↓ PgUp PgDn");
        moves.on.push((PageUp, Action::Go(-10)));
        moves.on.push((PageDown, Action::Go(10)));
        choices.push(moves);
    }
    choices
}

fn on_lab(model: &Model) -> Vec<Choice> {
    use KeyCode::{Char, Enter, Esc};
    let (experiment, trial) = model.trials.current();
    let mut choices = Vec::new();
    match trial.stage {
        TrialStage::Asked => {
            if model.trials.running().is_none() {
                choices.push(choice("Enter", "run", [(Enter, Action::Run)]));
            }
            let answers = experiment.answers.len().min(LETTERS.len());
            let on = LETTERS[..answers].iter().enumerate();
            choices.push(Choice {
                keys: ["", "a", "a b", "a b c", "a b c d"][answers],
                what: "predict",
                on: on
                    .map(|(place, letter)| (Char(*letter), Action::Predict(place)))
                    .collect(),
            });
        }
        TrialStage::Running(_) => {}
        TrialStage::Done(_) | TrialStage::Failed(_) => {
            choices.push(choice("Enter", "again", [(Enter, Action::Run)]));
            choices.push(scrolls());
        }
    }
    if model.trials.running().is_some() {
        choices.push(choice("Esc", "stop it", [(Esc, Action::Stop)]));
    }
    choices.push(moves("↑↓"));
    choices
}

/// Not while both lists are on their way.
fn get_tokens(model: &Model) -> Option<Choice> {
    let untouched = model.notes.rows.known().is_none() && model.events.rows.known().is_none();
    let what = if untouched { "get tokens" } else { "reload" };
    let is_loading = model.notes.rows.is_loading() && model.events.rows.is_loading();
    (!is_loading).then(|| choice("r", what, [(KeyCode::Char('r'), Action::Load)]))
}

fn on_board(model: &Model) -> Vec<Choice> {
    use KeyCode::{
        Backspace, Char, Delete, Down, End, Enter, Home, Left, PageDown, PageUp, Right, Up,
    };
    let mut choices: Vec<Choice> = get_tokens(model).into_iter().collect();
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
        let show = [(Char('t'), Action::Tab(Tab::Tokens))];
        choices.push(choice("t", "token", show));
    }
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
