//! A plan: lines of what is to be done, each with how far it is.

use ringfence_sdk::prelude::*;

/// More is a list of everything, not a plan.
pub(crate) const ITEMS_MAX: usize = 64;

/// A line.
const TITLE_CHARS_MAX: usize = 200;

/// How far a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    /// Not begun.
    Pending,
    /// Under way.
    InProgress,
    /// Done.
    Done,
}

/// One line.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Item {
    title: String,
    status: Status,
}

/// All of them, in order.
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct Plan(Vec<Item>);

impl Plan {
    /// A plan of these lines.
    pub(crate) fn new(items: impl IntoIterator<Item = (String, Status)>) -> Result<Self> {
        let mut plan = vec![];
        for (place, (title, status)) in items.into_iter().enumerate() {
            let title = title.trim();
            let fits = title.chars().count() <= TITLE_CHARS_MAX && !title.contains(['\n', '\r']);
            if title.is_empty() || !fits {
                let message = format!("a title is one line of 1 to {TITLE_CHARS_MAX} characters");
                return Err(Error::invalid_input(message).at(format!("/items/{place}/title")));
            }
            plan.push(Item { title: title.to_owned(), status });
        }
        if plan.is_empty() || plan.len() > ITEMS_MAX {
            let message = format!("a plan has from 1 to {ITEMS_MAX} items, not {}", plan.len());
            return Err(Error::invalid_input(message).at("/items"));
        }
        Ok(Self(plan))
    }

    /// Says how far one line is, counted from 1.
    pub(crate) fn mark(&mut self, item: usize, status: Status) -> Result<()> {
        let count = self.0.len();
        let Some(item) = item.checked_sub(1).and_then(|place| self.0.get_mut(place)) else {
            let message = match count {
                0 => "there is no plan yet: `write` one".to_owned(),
                count => format!("the plan has {count} items"),
            };
            return Err(Error::invalid_input(message).at("/item"));
        };
        item.status = status;
        Ok(())
    }

    /// As people and models read it.
    pub(crate) fn shown(&self) -> String {
        if self.0.is_empty() {
            return "there is no plan yet".to_owned();
        }
        let line = |(place, item): (usize, &Item)| {
            let mark = match item.status {
                Status::Pending => ' ',
                Status::InProgress => '~',
                Status::Done => 'x',
            };
            format!("{}. [{mark}] {}", place + 1, item.title)
        };
        self.0.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(titles: &[&str]) -> Result<Plan> {
        Plan::new(titles.iter().map(|title| ((*title).to_owned(), Status::Pending)))
    }

    #[test]
    fn a_plan_is_lines_that_are_marked() {
        let mut two = plan(&[" read ", "write"]).unwrap();
        two.mark(1, Status::Done).unwrap();
        two.mark(2, Status::InProgress).unwrap();
        assert_eq!(two.shown(), "1. [x] read\n2. [~] write");
        let json = r#"[{"title":"read","status":"done"},{"title":"write","status":"in-progress"}]"#;
        assert_eq!(serde_json::to_string(&two).unwrap(), json);
        assert_eq!(serde_json::from_str::<Plan>(json).unwrap(), two);
        assert_eq!(Plan::default().shown(), "there is no plan yet");
    }

    #[test]
    fn what_is_no_plan_is_refused() {
        let check = |titles: &[&str], says: &str| {
            let error = plan(titles).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        };
        check(&[], "from 1 to 64");
        check(&["x"; 65], "not 65");
        check(&["a", " "], "one line");
        check(&["a\nb"], "one line");
        check(&["x".repeat(201).as_str()], "200 characters");
        assert!(plan(&["x".repeat(200).as_str()]).is_ok());
        let mut one = plan(&["a"]).unwrap();
        for item in [0, 2, usize::MAX] {
            assert!(one.mark(item, Status::Done).is_err(), "{item}");
        }
        assert!(Plan::default().mark(1, Status::Done).is_err());
    }
}
