//! What somebody wants to see, of what it may see.

use std::borrow::Cow;

use super::counts::Summary;
use super::news::TYPES;
use super::{Event, Group, News, Sight};
use crate::limits::{FILTER_NAMES_MAX, FILTER_TYPES_MAX};
use crate::refusal::Refusal;

/// What somebody asks for. Where there is nothing, everything.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) types: Vec<String>,
    pub(crate) kinds: Vec<String>,
    pub(crate) topics: Vec<String>,
}

/// Which events are shown.
#[derive(Debug)]
pub(crate) struct Filter {
    /// By their places in [`TYPES`].
    types: [bool; TYPES.len()],
    kinds: Vec<String>,
    topics: Vec<String>,
}

impl Filter {
    /// Takes wishes, as far as somebody may have them.
    pub(crate) fn new(wishes: Wishes, sight: &Sight) -> Result<Self, Refusal> {
        let Wishes { types: names, kinds, topics } = wishes;
        if names.len() > FILTER_TYPES_MAX || kinds.len().max(topics.len()) > FILTER_NAMES_MAX {
            let most =
                format!("{FILTER_TYPES_MAX} types, {FILTER_NAMES_MAX} kinds and {FILTER_NAMES_MAX} topics");
            return Err(Refusal::too_many(format!("at most {most}")));
        }
        let mut types = [false; TYPES.len()];
        for name in &names {
            let about = group(name);
            let fits =
                |(of, group): &(&str, Option<Group>)| of == name || (about.is_some() && *group == about);
            let places = TYPES.iter().enumerate().filter(|(_, each)| fits(each));
            let found: Vec<(usize, Option<Group>)> =
                places.map(|(place, (_, group))| (place, *group)).collect();
            if found.is_empty() {
                return Err(no_such_type(name));
            }
            if found.iter().any(|(_, group)| group.is_some_and(|group| !sight.shows(group))) {
                return Err(Refusal::denied(format!("{name}: not for you to see")));
            }
            found.iter().for_each(|(place, _)| types[*place] = true);
        }
        if names.is_empty() {
            let may = |group: Option<Group>| group.is_none_or(|group| sight.shows(group));
            TYPES.iter().enumerate().for_each(|(place, (_, group))| types[place] = may(*group));
        }
        if ![Group::Tasks, Group::Workers, Group::Knowledge].into_iter().any(|group| sight.shows(group)) {
            return Err(Refusal::denied("nothing of what happens is for you to see"));
        }
        Ok(Self { types, kinds, topics })
    }

    /// What is shown of an event.
    pub(crate) fn show<'a>(&self, event: &'a Event, sight: &Sight) -> Option<Cow<'a, Event>> {
        if let News::Summary(summary) = &event.news {
            return self.sum(summary, sight).map(|news| Cow::Owned(Event { news, ..*event }));
        }
        let news = &event.news;
        let is_wanted = self.types[news.type_number()];
        let fits = |names: &[String], name: &str| names.is_empty() || names.iter().any(|of| of == name);
        let may = match (news.kind(), news.topic()) {
            (Some(kind), _) => sight.tasks.cover(kind) && fits(&self.kinds, kind),
            (_, Some(topic)) => sight.knowledge.cover(topic) && fits(&self.topics, topic),
            // Workers, and what was let go of, whatever its kind was: for those who see all of it.
            (None, None) => sight.workers,
        };
        (is_wanted && may).then_some(Cow::Borrowed(event))
    }

    /// What was counted of what is wanted; whoever wants any type of a group is told of all of the group.
    fn sum(&self, summary: &Summary, sight: &Sight) -> Option<News> {
        let wants = |group: Group| {
            let mut types = TYPES.iter().zip(self.types);
            types.any(|((_, of), is_wanted)| is_wanted && *of == Some(group)) && sight.shows(group)
        };
        let counts = summary.counts.only(wants);
        (!counts.is_empty()).then_some(News::Summary(Summary { counts, ..*summary }))
    }
}

impl Sight {
    fn shows(&self, group: Group) -> bool {
        match group {
            Group::Tasks => !self.tasks.are_none(),
            Group::Workers => self.workers,
            Group::Knowledge => !self.knowledge.are_none(),
        }
    }
}

fn no_such_type(name: &str) -> Refusal {
    let names: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
    let text = format!("there is no {name:?}, but tasks, workers, knowledge, {}", names.join(", "));
    Refusal::bad_option(format!("types: {text}"))
}

/// The group with this name.
fn group(name: &str) -> Option<Group> {
    match name {
        "tasks" => Some(Group::Tasks),
        "workers" => Some(Group::Workers),
        "knowledge" => Some(Group::Knowledge),
        _ => None,
    }
}
