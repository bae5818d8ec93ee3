//! What must hold when something is asked of a system, and when it takes effect there.

use lockstep::ids::Stage;
use lockstep::protocol::Call;
use lockstep::record::{Decision, Leaves};

use super::promises::{Broken, Promise, broken};
use super::store::{Row, key};
use super::systems::{RunKey, Status};
use super::universe::{OWN, StateId, system_name};
use super::world::World;

impl World {
    /// What was still under way when its run ended may take effect only where that end leaves open where the system stands.
    fn judge_late_effect(&mut self, run: RunKey, system: usize) -> Result<(), Broken> {
        let Some(row) = self.store.row(run).filter(|row| row.ends > 0) else {
            return Ok(());
        };
        let name = system_name(system);
        let left = row.run.members.get(&name).map(|m| m.state.leaves());
        let started = self.ghost.run(run).map_or(0, |known| known.started);
        if left != Some(Leaves::Unknown) && !self.is_disturbed(system, started) {
            return broken(
                Promise::Truthful,
                format!("#{run} took effect on {name}, of which its end says {left:?}"),
            );
        }
        self.systems[system].disturbed = Some(self.now);
        Ok(())
    }

    pub(crate) fn judge_effect(
        &mut self,
        run: RunKey,
        stage: Stage,
        system: usize,
    ) -> Result<(), Broken> {
        let name = system_name(system);
        let kept = &self.systems[system].kept;
        if kept.get(&(run, stage)).is_some_and(|k| k.effects > 1) {
            return broken(
                Promise::OnceOnly,
                format!("#{run} took effect twice on {name}"),
            );
        }
        let decision = match stage {
            Stage::Forward => Decision::Commit,
            Stage::Undo => Decision::Compensate,
        };
        if !self.store.row(run).is_some_and(|row| row.has(decision)) {
            return broken(
                Promise::DecidedFirst,
                format!("#{run} took effect on {name} without a decision"),
            );
        }
        self.judge_late_effect(run, system)?;
        if stage == Stage::Undo {
            return Ok(());
        }
        let kept = &self.systems[system].kept;
        let newer = kept
            .range((run + 1, Stage::Forward)..)
            .find(|(_, k)| k.was_staged && k.status != Status::Aborted);
        if let Some(((newer, _), _)) = newer {
            return broken(
                Promise::InStep,
                format!("#{run} took effect on {name}, where #{newer} is prepared already"),
            );
        }
        let members = self.ghost.run(run).map_or(&[][..], |known| &known.members);
        match members.iter().find(|m| !self.has_prepared(run, m.system)) {
            Some(member) => broken(
                Promise::InStep,
                format!(
                    "#{run} took effect on {name}, and {} has not prepared",
                    system_name(member.system)
                ),
            ),
            None => Ok(()),
        }
    }

    pub(crate) fn judge_ownership(
        &mut self,
        stage: Stage,
        system: usize,
        before: StateId,
        after: StateId,
    ) -> Result<(), Broken> {
        let name = system_name(system);
        if before.theirs() != after.theirs() {
            return broken(
                Promise::OnlyItsOwn,
                format!("what is somebody else's on {name} was changed"),
            );
        }
        for slot in 0..OWN {
            let bit = 1 << slot;
            let (was, is) = (before.own()[slot] != 0, after.own()[slot] != 0);
            let ours = &mut self.ghost.ours[system];
            if was && !is && stage == Stage::Forward && *ours & bit == 0 {
                return broken(
                    Promise::OnlyItsOwn,
                    format!("what is not Lockstep's on {name} was deleted"),
                );
            }
            if !was && is {
                *ours |= bit;
            }
        }
        Ok(())
    }

    pub(crate) fn judge_staging(
        &self,
        run: RunKey,
        stage: Stage,
        system: usize,
    ) -> Result<(), Broken> {
        let Some(known) = self.ghost.run(run).filter(|_| stage == Stage::Forward) else {
            return Ok(());
        };
        if self.place(known.revision) == usize::MAX {
            return broken(
                Promise::MergedOnly,
                format!(
                    "{} staged revision {}, which is not on main",
                    system_name(system),
                    known.revision
                ),
            );
        }
        Ok(())
    }

    pub(crate) fn judge_question(
        &self,
        run: RunKey,
        call: Call,
        is_over: bool,
    ) -> Result<(), Broken> {
        let row = self.store.row(run);
        let has = |decision| row.is_some_and(|row: &Row| row.has(decision));
        if is_over {
            return broken(
                Promise::QuietAfterEnd,
                format!("{call:?} of #{run} is asked, which is over"),
            );
        }
        match call {
            _ if row.is_none() => broken(
                Promise::SavedFirst,
                format!("{call:?} of #{run}, which is not in the store"),
            ),
            Call::Commit if !has(Decision::Commit) => broken(
                Promise::DecidedFirst,
                format!("commit of #{run} without a decision"),
            ),
            Call::Undo if !has(Decision::Compensate) => broken(
                Promise::DecidedFirst,
                format!("undoing of #{run} without a decision"),
            ),
            Call::Prepare | Call::Commit | Call::Abort | Call::Undo | Call::Observe(_) => Ok(()),
        }
    }

    pub(crate) fn judge_power_cut(&self) -> Result<(), Broken> {
        let took = |run: RunKey, stage| {
            let all = self.systems.iter();
            all.filter_map(|s| s.kept.get(&(run, stage)))
                .any(|kept| kept.effects > 0)
        };
        for row in self.store.runs.iter().flatten() {
            let run = key(&row.run);
            let is_lost = (!row.has(Decision::Commit) && took(run, Stage::Forward))
                || (!row.has(Decision::Compensate) && took(run, Stage::Undo));
            if is_lost {
                return broken(
                    Promise::DecidedFirst,
                    format!("the decision about #{run} went with the power, and it is carried out"),
                );
            }
        }
        Ok(())
    }
}
