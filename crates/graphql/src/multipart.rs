//! Uploads as the graphql-multipart-request-spec sends them: the parts `operations` and `map`, then the files.
//!
//! The transport splits the body; this module puts the files' indexes into the variables. Specification:
//! <https://github.com/jaydenseric/graphql-multipart-request-spec>, one operation per body.

use serde_json::{Map, Value};

use crate::coerce::{Place, Step};
use crate::request::{Request, RequestError, form, parse};

/// Reads the request of an upload from the part `operations`, without its files.
///
/// # Errors
/// [`RequestError`] says what is wrong with the part.
pub fn read(operations: &[u8]) -> Result<Request, RequestError> {
    let operations = parse(operations)?;
    if operations.is_array() {
        return Err(form("An upload must hold a single operation, not a batch."));
    }
    Request::from_value(operations)
}

/// Puts the files into the variables of a request, as the part `map` says. `files` are the names of the file parts in their
/// order. In the resolver an argument of type `Upload` is then the index into `files`.
///
/// Two habits of clients are accepted: a list position beyond the list (they number all files of the body, not
/// those of the list; such a list is filled in the order of the numbers) and a single file where a list is expected.
///
/// # Errors
/// [`RequestError`] says what in the map is wrong.
pub fn place<S: AsRef<str>>(
    request: &mut Request,
    map: &[u8],
    files: &[S],
) -> Result<(), RequestError> {
    let Value::Object(map) = parse(map)? else {
        return Err(wrong("it must be an object of lists of paths"));
    };
    let mut lists: Vec<(Vec<Step>, Positions)> = Vec::new();
    for (part, paths) in map {
        let Some(file) = files.iter().position(|name| name.as_ref() == part) else {
            return Err(wrong(&format!("there is no file part {part:?}")));
        };
        let Value::Array(paths) = paths else {
            return Err(wrong(&format!("the paths of file {part:?} are not a list")));
        };
        for path in paths {
            let Some(path) = path.as_str() else {
                return Err(wrong(&format!("a path of file {part:?} is not a string")));
            };
            let mut steps = steps(path, &request.variables)?;
            match steps.last() {
                Some(Step::Index(index)) => {
                    let index = *index;
                    steps.pop();
                    match lists.iter_mut().find(|(list, _)| *list == steps) {
                        Some((_, positions)) => positions.push((index, file)),
                        None => lists.push((steps, vec![(index, file)])),
                    }
                }
                _ => set(request, steps, file, path)?,
            }
        }
    }
    for (list, positions) in lists {
        fill(request, &list, positions)?;
    }
    Ok(())
}

/// Files of one list: position asked for, index of the file.
type Positions = Vec<(usize, usize)>;

fn wrong(what: &str) -> RequestError {
    RequestError::Map(what.to_owned())
}

/// Splits `variables.input.files.0`; a number is a position where the variables hold a list, else a name.
fn steps(path: &str, variables: &Map<String, Value>) -> Result<Vec<Step>, RequestError> {
    let mut segments = path.split('.');
    if segments.next() != Some("variables") {
        return Err(wrong(&format!(
            "path {path:?} does not start with \"variables.\""
        )));
    }
    let mut steps = Vec::new();
    let mut here: Option<&Value> = None;
    for segment in segments {
        if segment.is_empty() {
            return Err(wrong(&format!("path {path:?} has an empty segment")));
        }
        match here {
            Some(Value::Array(items)) => {
                let index: usize = segment.parse().map_err(|_| {
                    wrong(&format!(
                        "{segment:?} in path {path:?} is not a list position"
                    ))
                })?;
                here = items.get(index);
                steps.push(Step::Index(index));
            }
            _ => {
                here = if steps.is_empty() {
                    variables.get(segment)
                } else {
                    here.and_then(|value| value.get(segment))
                };
                steps.push(Step::Key(segment.to_owned()));
            }
        }
    }
    if steps.is_empty() {
        return Err(wrong(&format!("path {path:?} names no variable")));
    }
    Ok(steps)
}

/// The value at a place, created when it is only the last name that is missing.
fn locate<'v>(variables: &'v mut Map<String, Value>, steps: &[Step]) -> Option<&'v mut Value> {
    let (first, rest) = steps.split_first()?;
    let Step::Key(name) = first else { return None };
    let mut here = if rest.is_empty() {
        variables.entry(name.clone()).or_insert(Value::Null)
    } else {
        variables.get_mut(name)?
    };
    for (i, step) in rest.iter().enumerate() {
        here = match (step, here) {
            (Step::Key(name), Value::Object(members)) => {
                if i + 1 == rest.len() {
                    members.entry(name.clone()).or_insert(Value::Null)
                } else {
                    members.get_mut(name)?
                }
            }
            (Step::Index(index), Value::Array(items)) => items.get_mut(*index)?,
            _ => return None,
        };
    }
    Some(here)
}

fn set(
    request: &mut Request,
    mut steps: Vec<Step>,
    file: usize,
    path: &str,
) -> Result<(), RequestError> {
    match locate(&mut request.variables, &steps) {
        Some(place @ Value::Null) => *place = Value::from(file),
        // The path of a list without a position: the next free one.
        Some(Value::Array(items)) => match items.iter().position(Value::is_null) {
            Some(free) => {
                items[free] = Value::from(file);
                steps.push(Step::Index(free));
            }
            None => return Err(wrong(&format!("the list at {path:?} has no free position"))),
        },
        Some(_) => {
            return Err(wrong(&format!(
                "the variables do not hold null at {path:?}"
            )));
        }
        None => return Err(wrong(&format!("the variables have no {path:?}"))),
    }
    request.uploads.push(Place { steps });
    Ok(())
}

/// Puts several files into one list: at their positions when these all exist and are free, else in their order.
fn fill(
    request: &mut Request,
    list: &[Step],
    mut positions: Positions,
) -> Result<(), RequestError> {
    let Some(Value::Array(items)) = locate(&mut request.variables, list) else {
        return Err(wrong("a list of files was given twice"));
    };
    positions.sort_by_key(|(position, _)| *position);
    let free: Vec<usize> = (0..items.len()).filter(|i| items[*i].is_null()).collect();
    let fits = positions
        .iter()
        .all(|(position, _)| free.binary_search(position).is_ok())
        && positions.windows(2).all(|pair| pair[0].0 != pair[1].0);
    if !fits {
        if positions.len() > free.len() {
            return Err(wrong(&format!(
                "a list has room for {} files, but {} are given",
                free.len(),
                positions.len()
            )));
        }
        for ((position, _), free) in positions.iter_mut().zip(free) {
            *position = free;
        }
    }
    for (position, file) in positions {
        items[position] = Value::from(file);
        let mut steps = list.to_vec();
        steps.push(Step::Index(position));
        request.uploads.push(Place { steps });
    }
    Ok(())
}
