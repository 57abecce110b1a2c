//! Reads `schema/interfaces.graphql`: one field a line, each interface with its own fields only, and hands out complete sets.

/// One field as it is written into the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    /// Description, without quotes.
    pub(crate) description: Option<String>,
    /// Name.
    pub(crate) name: String,
    /// Arguments in parentheses, or empty.
    pub(crate) arguments: String,
    /// Type.
    pub(crate) output: String,
}

impl Field {
    /// A field without description.
    pub(crate) fn new(name: &str, arguments: &str, output: &str) -> Self {
        Self {
            description: None,
            name: name.to_owned(),
            arguments: arguments.to_owned(),
            output: output.to_owned(),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let (head, output) = match line.rfind(')') {
            Some(close) => (&line[..=close], line[close + 1..].trim().strip_prefix(':')?),
            None => line.split_once(':')?,
        };
        let (name, arguments) = match head.find('(') {
            Some(open) => (&head[..open], &head[open..]),
            None => (head, ""),
        };
        Some(Self::new(name.trim(), arguments.trim(), output.trim()))
    }
}

/// One interface with its own fields.
#[derive(Debug)]
pub(crate) struct Interface {
    /// Description, without quotes.
    pub(crate) description: Option<String>,
    /// Name.
    pub(crate) name: String,
    /// Interfaces that it implements, all of them.
    pub(crate) implements: Vec<String>,
    fields: Vec<Field>,
}

/// All interfaces of the knowledge types.
#[derive(Debug)]
pub(crate) struct Interfaces(Vec<Interface>);

impl Interfaces {
    /// Reads the file; lines that are neither interface nor field are skipped.
    pub(crate) fn parse(text: &str) -> Self {
        let mut interfaces: Vec<Interface> = Vec::new();
        let mut description = None;
        for line in text.lines().map(str::trim) {
            if let Some(quoted) = line.strip_prefix('"') {
                description = Some(quoted.trim_end_matches('"').to_owned());
            } else if let Some(head) = line.strip_prefix("interface ") {
                let head = head.trim_end_matches('{').trim();
                let (name, implements) = head.split_once(" implements ").unwrap_or((head, ""));
                interfaces.push(Interface {
                    description: description.take(),
                    name: name.to_owned(),
                    implements: implements
                        .split('&')
                        .map(|name| name.trim().to_owned())
                        .filter(|name| !name.is_empty())
                        .collect(),
                    fields: Vec::new(),
                });
            } else if let (Some(interface), Some(mut field)) = (
                interfaces.last_mut(),
                Field::parse(line).filter(|_| !line.starts_with('#')),
            ) {
                field.description = description.take();
                interface.fields.push(field);
            }
        }
        Self(interfaces)
    }

    /// The interfaces in the order of the file.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Interface> {
        self.0.iter()
    }

    /// Fields of the named interfaces and of those that they implement, general ones first, each name once.
    pub(crate) fn fields<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Vec<Field> {
        let wanted = self.closure(names);
        let mut fields: Vec<Field> = Vec::new();
        for interface in self
            .0
            .iter()
            .filter(|interface| wanted.contains(&interface.name))
        {
            for field in &interface.fields {
                if !fields.iter().any(|known| known.name == field.name) {
                    fields.push(field.clone());
                }
            }
        }
        fields
    }

    /// The named interfaces and all that they implement, in the order of the file.
    pub(crate) fn closure<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let names: Vec<&str> = names.into_iter().collect();
        let implied = |name: &str| {
            self.0.iter().any(|other| {
                names.contains(&other.name.as_str())
                    && other.implements.iter().any(|implied| implied == name)
            })
        };
        self.0
            .iter()
            .filter(|interface| {
                names.contains(&interface.name.as_str()) || implied(&interface.name)
            })
            .map(|interface| interface.name.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_hands_out_inherited_fields_first() {
        let interfaces = Interfaces::parse(
            "\"Base.\"\ninterface A {\n  id: ID!\n}\n\ninterface B implements A {\n  \"A list.\"\n  items(first: Int, after: ID): XConnection\n}\n",
        );
        let fields = interfaces.fields(["B"]);
        assert_eq!(fields[0], Field::new("id", "", "ID!"));
        assert_eq!(fields[1].arguments, "(first: Int, after: ID)");
        assert_eq!(fields[1].output, "XConnection");
        assert_eq!(fields[1].description.as_deref(), Some("A list."));
        assert_eq!(interfaces.closure(["B"]), ["A", "B"]);
    }
}
