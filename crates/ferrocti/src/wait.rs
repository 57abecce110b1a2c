//! Waiting for something that can only be asked about: a work in a platform that answers questions and tells nothing by itself.

use std::{thread, time::Duration};

/// The first pause between two questions.
const FIRST: Duration = Duration::from_millis(20);
/// The longest pause: often enough for a progress bar, and next to no load.
const LONGEST: Duration = Duration::from_millis(500);

/// Asks until there is an answer, with pauses that grow up to half a second. Gives up only with an error of the question.
pub fn until<T, E>(ask: impl FnMut() -> Result<Option<T>, E>) -> Result<T, E> {
    with_pauses(thread::sleep, ask)
}

fn with_pauses<T, E>(
    mut pause: impl FnMut(Duration),
    mut ask: impl FnMut() -> Result<Option<T>, E>,
) -> Result<T, E> {
    let mut next = FIRST;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        pause(next);
        next = (next * 2).min(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_until_there_is_an_answer() {
        let (mut pauses, mut asked) = (Vec::new(), 0);
        let answer = with_pauses(
            |pause| pauses.push(pause.as_millis()),
            || {
                asked += 1;
                Ok::<_, ()>((asked == 9).then_some(asked))
            },
        );
        assert_eq!(answer, Ok(9));
        assert_eq!(pauses, [20, 40, 80, 160, 320, 500, 500, 500]);
    }

    #[test]
    fn an_answer_that_is_there_costs_no_pause() {
        let answer = with_pauses(|_| panic!("a pause"), || Ok::<_, ()>(Some(1)));
        assert_eq!(answer, Ok(1));
    }

    #[test]
    fn an_error_ends_the_waiting() {
        let mut pauses = 0;
        let answer = with_pauses(|_| pauses += 1, || Err::<Option<()>, _>("gone"));
        assert_eq!((answer, pauses), (Err("gone"), 0));
    }
}
