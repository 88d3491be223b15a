//! Which statements of a step, or of its way back, commit together.

use crate::core::plan::Block;
use crate::sql::{Aside, Kind, Statement, TableAction};

/// A statement, and what it puts aside.
pub type Undo = (Statement, Vec<Aside>);

/// Which statements share a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Those that can.
    Together,
    /// Those that can, but rows are looked at without the locks of the statements before, which would stop everybody.
    Derived,
    /// None.
    Alone,
}

impl Sharing {
    fn shares(self, before: Option<&Statement>, statement: &Statement) -> bool {
        let looks = |one: &Statement| match &one.kind {
            Kind::AlterTable(alter) => {
                alter.actions.iter().any(|action| matches!(action, TableAction::ValidateConstraint { .. }))
            }
            _ => false,
        };
        match self {
            Self::Together => true,
            Self::Derived => before.is_none_or(|before| looks(before) == looks(statement)),
            Self::Alone => false,
        }
    }
}

/// Groups statements into blocks.
pub fn blocks(statements: Vec<Undo>, sharing: Sharing) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for (statement, aside) in statements {
        match blocks.last_mut() {
            Some(last)
                if last.transactional
                    && statement.transactional
                    && sharing.shares(last.statements.last(), &statement) =>
            {
                last.statements.push(statement);
                last.aside.extend(aside);
            }
            _ => blocks.push(Block {
                transactional: statement.transactional,
                statements: vec![statement],
                aside,
                backfill: None,
            }),
        }
    }
    blocks
}
