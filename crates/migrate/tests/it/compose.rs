//! Compose files: what Docker Compose itself says of the fixtures, and what is told about files that are not right.

use std::{collections::BTreeMap, fs, path::PathBuf};

use ferrocti_catalog::Secret;
use ferrocti_migrate::{
    compose::{Asked, Input, Project, Service, Source, Told, Unread, Unset, Words, read},
    recognise::{Id, Role, service as recognise},
};
use serde_json::{Value, json};

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/compose")
}

fn texts(value: Option<&Value>) -> Option<Vec<String>> {
    let list = value?.as_array()?;
    Some(
        list.iter()
            .map(|item| item.as_str().unwrap().to_owned())
            .collect(),
    )
}

/// Reads files that stand below `/p`.
fn read_files(
    files: &BTreeMap<String, Vec<u8>>,
    named: Option<Vec<String>>,
    env_files: &[String],
    profiles: &[String],
    shell: &[(&str, &str)],
) -> Result<Project, Told> {
    let shell: BTreeMap<String, Secret> = shell
        .iter()
        .map(|(key, value)| ((*key).to_owned(), Secret::from(*value)))
        .collect();
    let below =
        |list: &[String]| -> Vec<String> { list.iter().map(|file| format!("/p/{file}")).collect() };
    let named = below(&named.unwrap_or_else(|| vec!["docker-compose.yml".to_owned()]));
    let env_files = below(env_files);
    read(&Input {
        files: &named,
        env_files: &env_files,
        directory: Some("/p"),
        project: None,
        profiles,
        shell: &shell,
        read: &|path| files.get(path).cloned().ok_or(Unread::Missing),
    })
}

/// One file and its service `a`.
fn read_text(text: &str) -> Result<Project, Told> {
    let files = BTreeMap::from([("/p/docker-compose.yml".to_owned(), text.as_bytes().to_vec())]);
    read_files(&files, None, &[], &[], &[])
}

fn fixture(name: &str) -> Result<Project, Told> {
    let root = fixtures().join(name);
    let case: Value = serde_json::from_slice(&fs::read(root.join("case.json")).unwrap()).unwrap();
    let mut files = BTreeMap::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let name = path
                    .strip_prefix(&root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                files.insert(format!("/p/{name}"), fs::read(&path).unwrap());
            }
        }
    }
    let shell: Vec<(&str, &str)> = case
        .get("shell")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value.as_str().unwrap()))
        .collect();
    read_files(
        &files,
        texts(case.get("files")),
        &texts(case.get("env_files")).unwrap_or_default(),
        &texts(case.get("profiles")).unwrap_or_default(),
        &shell,
    )
}

/// A service in the form of `expected.json`.
fn shown(service: &Service) -> Value {
    let environment: BTreeMap<&str, &str> = service
        .environment
        .iter()
        .map(|variable| (variable.key.as_str(), variable.value.expose()))
        .collect();
    let volumes: Vec<Value> = service
        .volumes
        .iter()
        .map(|volume| {
            let (kind, source) = match &volume.source {
                Source::Bind(path) => ("bind", Some(path)),
                Source::Volume(name) => ("volume", Some(name)),
                Source::Anonymous => ("volume", None),
                Source::Temporary => ("tmpfs", None),
                Source::Other(kind) => (kind.as_str(), None),
            };
            json!([kind, source, volume.target, volume.read_only])
        })
        .collect();
    let mut files: Vec<(String, Option<String>)> = service
        .put
        .iter()
        .map(|file| (file.target.clone(), file.path.clone()))
        .collect();
    files.sort();
    let mut networks = service.networks.clone();
    networks.sort();
    let words = |words: &Option<Words>| {
        words.as_ref().map(|words| match words {
            Words::Text(text) => text.clone(),
            Words::List(list) => list.join(" "),
        })
    };
    json!({
        "image": service.image,
        "environment": environment,
        "volumes": volumes,
        "files": files,
        "networks": networks,
        "network_mode": service.network_mode,
        "command": words(&service.command),
        "entrypoint": words(&service.entrypoint),
        "user": service.user,
        "working_dir": service.working_directory,
        "restart": service.restart,
        "memory": service.limits.memory,
        "cpu_millis": service.limits.cpu_millis,
        "processes": service.limits.processes,
        "replicas": service.replicas,
    })
}

fn service<'p>(project: &'p Project, name: &str) -> &'p Service {
    project
        .services
        .iter()
        .find(|service| service.name == name)
        .unwrap()
}

fn value<'p>(project: &'p Project, name: &str, key: &str) -> Option<&'p str> {
    service(project, name).variable(key).map(Secret::expose)
}

#[test]
fn fixtures_are_read_as_docker_compose_reads_them() {
    let mut held = 0;
    let mut differ = Vec::new();
    for entry in fs::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let Ok(expected) = fs::read(path.join("expected.json")) else {
            continue;
        };
        let expected: BTreeMap<String, Value> = serde_json::from_slice(&expected).unwrap();
        let project = fixture(name).unwrap();
        let got: BTreeMap<String, Value> = project
            .services
            .iter()
            .filter(|service| service.active)
            .map(|service| {
                differ.extend(
                    service
                        .faults
                        .iter()
                        .map(|fault| format!("{name}: {fault}")),
                );
                (service.name.clone(), shown(service))
            })
            .collect();
        assert_eq!(
            got.keys().collect::<Vec<_>>(),
            expected.keys().collect::<Vec<_>>(),
            "{name}"
        );
        for (service, expected) in &expected {
            for (key, expected) in expected.as_object().unwrap() {
                let got = &got[service][key];
                if got != expected {
                    differ.push(format!("{name}: {service}: {key}:\n  {got}\n  {expected}"));
                }
            }
        }
        held += 1;
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    assert!(held >= 16, "{held}");
}

#[test]
fn what_docker_compose_refuses_and_people_have_is_read_and_told() {
    let project = fixture("refused-by-docker").unwrap();
    assert_eq!(value(&project, "a", "TAG_PREFIX"), Some("opencti:"));
    assert_eq!(value(&project, "a", "TITLE"), Some("a: b"));
    assert_eq!(value(&project, "b", "TWICE"), Some("second"));
    assert_eq!(service(&project, "b").restart.as_deref(), Some("no"));
    assert_eq!(service(&project, "a").remarks.len(), 2);
    assert_eq!(project.remarks.len(), 2, "{:?}", project.remarks);
    assert!(project.remarks[0].to_string().contains("TWICE"));
}

#[test]
fn a_fault_names_file_line_service_and_what_to_do() {
    for (text, line, service_name, part) in [
        (
            "services:\n  a:\n    image: x\n    environment:\n      - A=${NO:?give it}\n",
            5,
            "a",
            "give it",
        ),
        (
            "services:\n  a:\n    image: x\n    environment:\n      A: ${\n",
            5,
            "a",
            "$$",
        ),
        (
            "services:\n  a:\n    image: x\n    environment:\n      A: [1]\n",
            5,
            "a",
            "no text",
        ),
        (
            "services:\n  a:\n    image: x\n    environment:\n      - K: v\n",
            5,
            "a",
            "NAME=value",
        ),
        (
            "services:\n  a:\n    environment: [A=1]\n",
            3,
            "a",
            "neither `image` nor `build`",
        ),
        (
            "services:\n  a:\n    image: x\n    env_file: no.env\n",
            4,
            "a",
            "no.env",
        ),
        (
            "services:\n  a:\n    image: x\n    extends: b\n",
            4,
            "a",
            "no service `b`",
        ),
        (
            "services:\n  a:\n    image: x\n    extends: a\n",
            4,
            "a",
            "extends itself",
        ),
        (
            "services:\n  a:\n    image: x\n    extends: {file: no.yml, service: b}\n",
            1,
            "a",
            "not there",
        ),
        ("services:\n  a: text\n", 2, "a", "a service is a map"),
        (
            "services:\n  a:\n    image: x\n    secrets: [s]\n",
            4,
            "a",
            "no `s`",
        ),
    ] {
        let project = read_text(text).unwrap();
        let faults = &service(&project, service_name).faults;
        let fault = faults
            .iter()
            .find(|fault| fault.to_string().contains(part))
            .unwrap_or_else(|| panic!("{text}: {faults:?}"));
        assert!(fault.at.line.abs_diff(line) <= 1, "{text}: {fault}");
        assert!(fault.at.file.starts_with("/p/"), "{fault}");
        assert_eq!(fault.service.as_deref(), Some(service_name));
        assert!(!fault.remedy.is_empty());
    }
}

#[test]
fn files_that_cannot_be_read_at_all_are_refused() {
    for (text, line, part) in [
        ("services:\n  a:\n\timage: x\n", 3, ""),
        ("connector-a:\n  image: x\n", 1, "`services:`"),
        ("services:\nconnector-a:\n  image: x\n", 2, "beside"),
        ("- a\n", 1, "map"),
        ("services: [a]\n", 1, "map"),
        (
            "include: [docker-compose.yml]\nservices: {}\n",
            1,
            "includes itself",
        ),
        ("include: [no.yml]\n", 1, "not there"),
        ("include: [{env_file: x}]\n", 1, "names no file"),
    ] {
        let told = read_text(text).unwrap_err();
        assert!(told.to_string().contains(part), "{text}: {told}");
        assert!(told.at.line.abs_diff(line) <= 1, "{text}: {told}");
    }
    let told = read_files(&BTreeMap::new(), None, &[], &[], &[]).unwrap_err();
    assert!(told.to_string().contains("not there"), "{told}");
    let told = read_files(&BTreeMap::new(), Some(Vec::new()), &[], &[], &[]).unwrap_err();
    assert!(told.to_string().contains("usual name"), "{told}");
    let files = BTreeMap::from([("/p/docker-compose.yml".to_owned(), vec![0xff])]);
    assert!(read_files(&files, None, &[], &[], &[]).is_err());
    let files = BTreeMap::from([("/p/docker-compose.yml".to_owned(), b"services: {}".to_vec())]);
    let told = read_files(&files, None, &["no.env".to_owned()], &[], &[]).unwrap_err();
    assert!(told.to_string().contains("not there"), "{told}");
}

#[test]
fn files_that_include_each_other_without_end_are_refused() {
    let files: BTreeMap<String, Vec<u8>> = (0..25)
        .map(|n| {
            let next = n + 1;
            (
                format!("/p/f{n}.yml"),
                format!("include: [f{next}.yml, f{next}.yml]\n").into_bytes(),
            )
        })
        .collect();
    let told = read_files(&files, Some(vec!["f0.yml".to_owned()]), &[], &[], &[]).unwrap_err();
    assert!(!told.remedy.is_empty());
    let mut whole = files;
    whole.insert("/p/f25.yml".to_owned(), b"services: {}\n".to_vec());
    let told = read_files(&whole, Some(vec!["f0.yml".to_owned()]), &[], &[], &[]).unwrap_err();
    assert!(told.to_string().contains("2000 times"), "{told}");
}

#[test]
fn one_faulty_service_hides_no_other() {
    let project = read_text(
        "services:\n  bad: {image: x, environment: ['A=${NO:?}']}\n  good: {image: y, environment: [B=1]}\n",
    )
    .unwrap();
    assert_eq!(service(&project, "bad").faults.len(), 1);
    assert!(service(&project, "good").faults.is_empty());
    assert_eq!(value(&project, "good", "B"), Some("1"));
}

#[test]
fn variables_that_nobody_sets_are_asked_for() {
    let project = read_text(
        "services:\n  a:\n    image: x\n    environment: ['A=$ONE$ONE', 'B=${TWO:-d}', 'C=${THREE:?}', FOUR]\n",
    )
    .unwrap();
    let asked: Vec<(&str, Unset, Option<&str>)> = project
        .asked
        .iter()
        .map(
            |Asked {
                 name,
                 unset,
                 service,
                 ..
             }| (name.as_str(), *unset, service.as_deref()),
        )
        .collect();
    assert_eq!(
        asked,
        [
            ("ONE", Unset::Blank, Some("a")),
            ("TWO", Unset::Default, Some("a")),
            ("THREE", Unset::Required, Some("a")),
            ("FOUR", Unset::PassedThrough, Some("a")),
        ]
    );
}

#[test]
fn files_of_secrets_are_known_by_path_content_and_the_variables_that_name_them() {
    let project = fixture("secrets-configs").unwrap();
    let a = service(&project, "a");
    let file = |target: &str| a.put.iter().find(|file| file.target == target).unwrap();
    let key = file("/run/secrets/api_key");
    assert_eq!(key.content.as_ref().unwrap().expose(), "hunter2\n");
    assert_eq!(key.named_by, ["API_KEY_FILE"]);
    assert_eq!(file("/etc/app/settings.yml").named_by, ["SETTINGS"]);
    assert_eq!(
        file("/inline").content.as_ref().unwrap().expose(),
        "level: info\n"
    );
    let mounts = a.runtime().mounts;
    assert!(
        mounts
            .iter()
            .any(|mount| mount.source == "/p/secrets/key.txt"
                && mount.target == "/run/secrets/api_key"
                && mount.read_only)
    );
    // those that are in no file cannot be mounted
    let lost: Vec<&str> = a
        .not_carried
        .iter()
        .filter(|item| item.matters)
        .map(|item| item.key.as_str())
        .collect();
    assert_eq!(lost, ["secrets", "secrets"]);
    let printed = format!("{project:?}");
    assert!(!printed.contains("hunter2"), "{printed}");
}

#[test]
fn what_a_managed_connector_has_no_place_for_is_named_with_its_reason() {
    let project = fixture("hardened").unwrap();
    let look = service(&project, "connector-look");
    let keys: Vec<&str> = look
        .not_carried
        .iter()
        .map(|item| item.key.as_str())
        .collect();
    for key in [
        "build",
        "init",
        "read_only",
        "tmpfs",
        "cap_drop",
        "security_opt",
        "restart",
    ] {
        assert!(keys.contains(&key), "{key}: {keys:?}");
    }
    assert_eq!(look.runtime().memory, Some(4 << 30));
    let runtime = fixture("runtime").unwrap();
    let matters: Vec<&str> = service(&runtime, "a")
        .not_carried
        .iter()
        .filter(|item| item.matters)
        .map(|item| item.key.as_str())
        .collect();
    for key in ["command", "entrypoint", "user", "working_dir", "volumes"] {
        assert!(matters.contains(&key), "{key}: {matters:?}");
    }
    let project = read_text("services:\n  a: {image: x, made_up: 1, x-own: 2}\n").unwrap();
    let keys: Vec<&str> = service(&project, "a")
        .not_carried
        .iter()
        .map(|item| item.key.as_str())
        .collect();
    assert_eq!(keys, ["made_up"]);
}

#[test]
fn the_project_is_named_as_compose_names_it() {
    let named = |text: &str, shell: &[(&str, &str)]| {
        let files =
            BTreeMap::from([("/p/docker-compose.yml".to_owned(), text.as_bytes().to_vec())]);
        read_files(&files, None, &[], &[], shell).unwrap().name
    };
    assert_eq!(named("services: {}", &[]), "p");
    assert_eq!(named("name: own\nservices: {}", &[]), "own");
    assert_eq!(
        named("name: own", &[("COMPOSE_PROJECT_NAME", "My Project")]),
        "myproject"
    );
}

#[test]
fn connectors_are_told_from_the_platform_around_them() {
    let project = fixture("several-connectors").unwrap();
    let roles: Vec<(&str, Role)> = project
        .services
        .iter()
        .map(|service| (service.name.as_str(), recognise(service, &|_| false).role))
        .collect();
    assert_eq!(
        roles,
        [
            ("redis", Role::Platform("Redis")),
            ("opencti", Role::Platform("the platform")),
            ("worker", Role::Platform("the worker")),
            ("connector-siem", Role::Connector),
        ]
    );
    let siem = recognise(service(&project, "connector-siem"), &|_| false);
    assert_eq!(
        siem.id,
        Id::Given("7b1c1c0e-0000-4000-8000-000000000001".to_owned())
    );
    assert_eq!(siem.image.as_deref(), Some("team/siem-connector"));
    // the same token as the platform's administrator and the worker
    assert_eq!(
        value(&project, "connector-siem", "OPENCTI_TOKEN"),
        value(&project, "worker", "OPENCTI_TOKEN")
    );
}
