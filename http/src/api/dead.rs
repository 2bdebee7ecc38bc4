//! The dead set.

use std::collections::BTreeSet;

use axum::response::Response;
use ganger_client::{DiscardQuery, TaskQuery};
use ganger_common::TaskId;
use ganger_common::limits::PAGE_ROWS_MAX;
use ganger_common::view::Among;

use super::Refused;
use super::tasks::refused_items;
use crate::body::Taken;
use crate::gate::Caller;
use crate::limits::{RETRIED_MAX, RETRY_PAGES_MAX};
use crate::model::{Batch, DeadFilter, DeadParams, Discard, Discarded, Revive, Revived, TOO_MANY, TaskRows};
use crate::params::Params;
use crate::refusal::Refusal;

/// Lists the dead set: those that are dead, then those that failed.
#[utoipa::path(
    get,
    path = "/v1/dead",
    params(DeadParams),
    responses((status = 200, description = "A page", body = TaskRows), Refused)
)]
pub(crate) async fn list(caller: Caller, Params(params): Params<DeadParams>) -> Result<Response, Refusal> {
    let place = Place::begin(params.outcome, params.after.as_deref())?;
    let page = caller.page(&place, params.kind, params.limit).await?;
    caller.ok(&page)
}

/// Puts tasks of the dead set back into their queues.
#[utoipa::path(
    post,
    path = "/v1/dead/retry",
    request_body(content((Revive = "application/json"), (Revive = "application/msgpack"))),
    responses((status = 200, description = "What was put back", body = Revived), Refused)
)]
pub(crate) async fn retry(caller: Caller, body: Taken) -> Result<Response, Refusal> {
    let Revive { ids, kind, outcome } = body.read().map_err(too_many)?;
    drop(body);
    let (ids, more) = match ids {
        Some(_) if kind.is_some() || outcome.is_some() => {
            return Err(Refusal::bad_message("either ids or a filter"));
        }
        Some(Batch(ids)) => (ids, false),
        None => caller.find(kind, outcome).await?,
    };
    let refused = match ids.is_empty() {
        true => Vec::new(),
        false => caller.answer(caller.client.retry(&ids)).await?,
    };
    let retried = ids.len().saturating_sub(refused.len());
    caller.ok(&Revived { retried, refused: refused_items(refused, &ids), more })
}

/// Lets tasks of the dead set go, for good.
#[utoipa::path(
    post,
    path = "/v1/dead/discard",
    request_body(content((Discard = "application/json"), (Discard = "application/msgpack"))),
    responses((status = 200, description = "What was let go", body = Discarded), Refused)
)]
pub(crate) async fn discard(caller: Caller, body: Taken) -> Result<Response, Refusal> {
    let Discard { ids, kind, outcome, all } = body.read().map_err(too_many)?;
    drop(body);
    let has_filter = kind.is_some() || outcome.is_some();
    match ids {
        Some(_) if has_filter || all => Err(Refusal::bad_message("either ids or a filter")),
        // Nothing named must not mean everything.
        None if !has_filter && !all => {
            Err(Refusal::bad_message("name ids or a filter, or say \"all\": true"))
        }
        None => {
            let among = outcome.map_or(Among::Any, DeadFilter::among);
            let (discarded, more) = caller.discard_some(among, kind).await?;
            caller.ok(&Discarded { discarded, refused: Vec::new(), more })
        }
        Some(Batch(ids)) => {
            let refused = match ids.is_empty() {
                true => Vec::new(),
                false => caller.answer(caller.client.discard(&ids)).await?,
            };
            // One that is named twice goes once, and is told of once.
            let distinct: BTreeSet<&TaskId> = ids.iter().collect();
            let kept: BTreeSet<&TaskId> = refused.iter().filter_map(|one| ids.get(one.index)).collect();
            let discarded = (distinct.len() - kept.len()) as u64;
            caller.ok(&Discarded { discarded, refused: refused_items(refused, &ids), more: false })
        }
    }
}

fn too_many(refusal: Refusal) -> Refusal {
    match refusal.message.contains(TOO_MANY) {
        true => Refusal::too_many(refusal.message),
        false => refusal,
    }
}

/// How far a listing has come.
struct Place {
    filter: DeadFilter,
    after: Option<String>,
    /// What comes when there are no more of these.
    then: Option<DeadFilter>,
}

impl Place {
    fn begin(only: Option<DeadFilter>, mark: Option<&str>) -> Result<Self, Refusal> {
        let [first, second] = DeadFilter::ALL;
        let wrong = || Refusal::bad_option("after: not a cursor of an earlier page");
        let (filter, after) = match mark.map(|mark| mark.split_once('.').ok_or_else(wrong)).transpose()? {
            None => (only.unwrap_or(first), None),
            Some((name, after)) => {
                let filter = DeadFilter::ALL.into_iter().find(|filter| filter.state().as_str() == name);
                (filter.ok_or_else(wrong)?, Some(after.to_owned()).filter(|after| !after.is_empty()))
            }
        };
        let then = Some(second).filter(|_| only.is_none() && filter == first);
        Ok(Self { filter, after, then })
    }

    /// Where the next page begins, when the broker says this of the one just read.
    fn next(&self, next: Option<String>) -> Option<String> {
        let name = |filter: DeadFilter| filter.state().as_str();
        match next {
            Some(next) => Some(format!("{}.{next}", name(self.filter))),
            None => self.then.map(|then| format!("{}.", name(then))),
        }
    }
}

impl Caller {
    async fn page(
        &self,
        place: &Place,
        kind: Option<String>,
        limit: Option<u32>,
    ) -> Result<TaskRows, Refusal> {
        let after = place.after.clone();
        let query = TaskQuery { state: Some(place.filter.state()), kind, after, limit };
        let page = self.answer(self.client.list(query)).await?;
        Ok(TaskRows { rows: page.rows, next: place.next(page.next) })
    }

    /// Those that fit a filter, as many as are put back at a time, and whether there may be more. They are
    /// found before the first is put back, which would change the listing.
    async fn find(
        &self,
        kind: Option<String>,
        only: Option<DeadFilter>,
    ) -> Result<(Vec<TaskId>, bool), Refusal> {
        let (mut ids, mut mark): (Vec<TaskId>, Option<String>) = (Vec::new(), None);
        for _ in 0..RETRY_PAGES_MAX {
            let place = Place::begin(only, mark.as_deref())?;
            let left = RETRIED_MAX - ids.len();
            let page = self.page(&place, kind.clone(), Some(left.min(PAGE_ROWS_MAX) as u32)).await?;
            ids.extend(page.rows.iter().map(|task| task.id));
            mark = page.next;
            if mark.is_none() || ids.len() >= RETRIED_MAX {
                break;
            }
        }
        Ok((ids, mark.is_some()))
    }
}

impl Caller {
    /// Lets go of those that fit, up to as many as are put back at a time, and says whether there may be more.
    async fn discard_some(&self, among: Among, kind: Option<String>) -> Result<(u64, bool), Refusal> {
        let mut query = DiscardQuery { among, kind, after: None };
        let mut all = 0;
        for _ in 0..RETRY_PAGES_MAX {
            let (count, next) = self.answer(self.client.discard_some(query.clone())).await?;
            all += count;
            query.after = next;
            if query.after.is_none() || all >= RETRIED_MAX as u64 {
                break;
            }
        }
        Ok((all, query.after.is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_goes_through_the_dead_and_then_the_failed() {
        let begin = Place::begin(None, None).unwrap();
        assert_eq!(begin.next(Some("17".to_owned())).unwrap(), "dead.17");
        assert_eq!(begin.next(None).unwrap(), "failed.");
        let failed = Place::begin(None, Some("failed.")).unwrap();
        assert_eq!((failed.filter, failed.after.as_deref()), (DeadFilter::Failed, None));
        assert_eq!(failed.next(None), None);
        assert_eq!(Place::begin(Some(DeadFilter::Dead), None).unwrap().next(None), None);
        assert!(Place::begin(None, Some("17")).is_err() && Place::begin(None, Some("lost.17")).is_err());
    }
}
