//! Parses an AdmissionReview. Borrows from the body, and skips the fields that no decision needs.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use thiserror::Error;

use crate::decision::facts::{OwnerReference, PodAnnotations, PodFacts, RequestKind};
use crate::decision::mesh::{MESHES, MarkerPlace, Mesh};
use crate::decision::overrides::{Override, OverrideEnd};
use crate::decision::selector::Labels;
use crate::kernel::names;
use crate::kernel::text::CleanText;

/// Request of an AdmissionReview.
#[derive(Debug)]
pub(crate) struct PodRequest<'a> {
    /// UID of the request; the answer repeats it.
    pub uid: Cow<'a, str>,
    /// Kind of request: whether it creates a pod.
    pub kind: RequestKind<'a>,
    /// User name of the requester, as the API server authenticated them.
    pub username: Cow<'a, str>,
    pub dry_run: bool,
    pub pod: PodFacts<'a>,
    /// Controlling owner, as the pod claims.
    pub controller: Option<OwnerReference>,
}

/// Reason why a body is no review that can be answered.
#[derive(Debug, Error)]
pub enum ReviewError {
    /// The body is not JSON of the right shape.
    #[error("the body is not an AdmissionReview of admission.k8s.io/v1: {}", shorten(&.0.to_string()))]
    Shape(serde_json::Error),
    /// The body is not text.
    #[error("the body is not JSON: it holds invalid UTF-8 at byte {0}")]
    Encoding(usize),
    /// The body is of another kind.
    #[error("the body is of kind {0:?}; send an AdmissionReview")]
    Kind(String),
    /// The body is of another API version.
    #[error(
        "the body is of version {0:?}; only admission.k8s.io/v1 is understood: set admissionReviewVersions to [v1]"
    )]
    Version(String),
    /// The pod has more labels than this.
    #[error("the pod has more than {0} labels, which is more than an API server can store")]
    Labels(usize),
    /// A required field is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
}

/// Shortens a message that may quote a body to its beginning and its end. The end tells the mistake.
fn shorten(text: &str) -> String {
    const KEPT: usize = 200;
    let cut = |at: &dyn Fn(&usize) -> bool| text.char_indices().map(|(index, _)| index).find(at);
    let (head, tail) = (cut(&|index| *index >= KEPT), cut(&|index| index + KEPT >= text.len()));
    match (head, tail) {
        (Some(head), Some(tail)) if head < tail => {
            format!("{} ... {}", CleanText(&text[..head]), CleanText(&text[tail..]))
        }
        _ => text.chars().filter(|c| !c.is_control()).collect(),
    }
}

/// Parses a review of a pod with at most `MOST` labels. The namespace of the request counts, not that of the object.
pub(crate) fn parse_review<'a, const MOST: usize>(body: &'a [u8], mesh: &Mesh) -> Result<PodRequest<'a>, ReviewError> {
    // One UTF-8 check for the whole body: no string is checked again, and no skipped one goes unchecked.
    let text = std::str::from_utf8(body).map_err(|error| ReviewError::Encoding(error.valid_up_to()))?;
    match serde_json::from_str::<JsonObject<ReviewBody<'a, JsonObject<PodBody<'a, MOST>>>>>(text) {
        Ok(JsonObject(review)) => check_envelope(review, |object, request| {
            pod_request(object.map(|JsonObject(object)| object), request, mesh)
        }),
        // Objects of other kinds need not look like a pod.
        Err(error) => match serde_json::from_str::<JsonObject<ReviewBody<'a, IgnoredAny>>>(text) {
            Ok(JsonObject(review)) => check_envelope(review, |_, request| match other_request_kind(&request) {
                Some(kind) => Ok(request_without_object(request, kind)),
                None => Err(ReviewError::Shape(error)),
            }),
            Err(_) => Err(ReviewError::Shape(error)),
        },
    }
}

fn check_envelope<'a, O>(
    review: ReviewBody<'a, O>,
    answer: impl FnOnce(Option<O>, RequestHead<'a>) -> Result<PodRequest<'a>, ReviewError>,
) -> Result<PodRequest<'a>, ReviewError> {
    let ReviewBody { api_version, kind, request } = review;
    if kind != "AdmissionReview" {
        return Err(ReviewError::Kind(crate::kernel::text::sanitize(&kind)));
    }
    if api_version != "admission.k8s.io/v1" {
        return Err(ReviewError::Version(crate::kernel::text::sanitize(&api_version)));
    }
    let (request, object) = request.ok_or(ReviewError::Missing("request"))?.0.split();
    if request.uid.is_empty() {
        return Err(ReviewError::Missing("request.uid"));
    }
    answer(object, request)
}

fn pod_request<'a, const MOST: usize>(
    object: Option<PodBody<'a, MOST>>,
    request: RequestHead<'a>,
    mesh: &Mesh,
) -> Result<PodRequest<'a>, ReviewError> {
    if let Some(kind) = other_request_kind(&request) {
        return Ok(request_without_object(request, kind));
    }
    let PodBody { metadata, spec } = object.ok_or(ReviewError::Missing("request.object"))?;
    let JsonObject(PodMetadata { name, generate_name, labels, annotations, owner_references }) =
        metadata.ok_or(ReviewError::Missing("request.object.metadata"))?;
    let namespace = request.namespace.clone().ok_or(ReviewError::Missing("request.namespace"))?;
    let PodBodySpec { host_network, service_account_name, containers, init_containers } =
        spec.map(|JsonObject(spec)| spec).unwrap_or_default();
    if labels.as_ref().is_some_and(|labels| labels.is_truncated) {
        return Err(ReviewError::Labels(MOST));
    }
    let pod = PodFacts {
        name,
        generate_name,
        namespace,
        labels: labels.map(|LabelPairs { kept, is_truncated: _ }| kept),
        annotations: annotations.map(|kept| kept.into_pod_annotations(mesh)).unwrap_or_default(),
        host_network: host_network.unwrap_or_default(),
        service_account: service_account_name,
        waits_for_proxy: containers.waits_for_proxy || init_containers.waits_for_proxy,
        has_sidecar: containers.has_proxy || init_containers.has_proxy_init,
    };
    Ok(PodRequest { pod, controller: owner_references.0, ..request_without_object(request, RequestKind::PodCreate) })
}

fn request_without_object<'a>(request: RequestHead<'a>, kind: RequestKind<'a>) -> PodRequest<'a> {
    let RequestHead { uid, namespace, user_info, dry_run, .. } = request;
    let pod = PodFacts { namespace: namespace.unwrap_or_default(), ..PodFacts::default() };
    let username = user_info.unwrap_or_default().username;
    PodRequest { uid, kind, username, dry_run: dry_run.unwrap_or_default(), pod, controller: None }
}

/// Returns the kind of a request that does not create a pod.
fn other_request_kind<'a>(request: &RequestHead<'a>) -> Option<RequestKind<'a>> {
    let RequestHead { operation, resource: ReviewedResource { group, resource }, sub_resource, .. } = request;
    let sub_resource = sub_resource.as_deref().unwrap_or_default();
    if operation == "CREATE" && group.is_empty() && resource == "pods" && sub_resource.is_empty() {
        return None;
    }
    let slash = if sub_resource.is_empty() { "" } else { "/" };
    Some(RequestKind::Other(Cow::Owned(format!("{operation} {resource}{slash}{sub_resource}"))))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "O: Deserialize<'de>"))]
struct ReviewBody<'a, O> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    request: Option<JsonObject<RequestWithObject<'a, O>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "O: Deserialize<'de>"))]
struct RequestWithObject<'a, O> {
    #[serde(borrow, default)]
    uid: Cow<'a, str>,
    #[serde(borrow, default)]
    resource: JsonObject<ReviewedResource<'a>>,
    #[serde(borrow, default)]
    sub_resource: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    namespace: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    operation: Cow<'a, str>,
    #[serde(borrow, default)]
    user_info: Option<JsonObject<RequestUser<'a>>>,
    #[serde(default)]
    dry_run: Option<bool>,
    #[serde(default = "Option::default")]
    object: Option<O>,
}

/// Struct that must be a JSON object; serde alone would accept a list as well.
#[derive(Default)]
struct JsonObject<T>(T);

/// Request without its object.
struct RequestHead<'a> {
    uid: Cow<'a, str>,
    resource: ReviewedResource<'a>,
    sub_resource: Option<Cow<'a, str>>,
    namespace: Option<Cow<'a, str>>,
    operation: Cow<'a, str>,
    user_info: Option<RequestUser<'a>>,
    dry_run: Option<bool>,
}

impl<'a, O> RequestWithObject<'a, O> {
    fn split(self) -> (RequestHead<'a>, Option<O>) {
        let Self { uid, resource, sub_resource, namespace, operation, user_info, dry_run, object } = self;
        let (JsonObject(resource), user_info) = (resource, user_info.map(|JsonObject(user_info)| user_info));
        (RequestHead { uid, resource, sub_resource, namespace, operation, user_info, dry_run }, object)
    }
}

#[derive(Default, Deserialize)]
struct ReviewedResource<'a> {
    #[serde(borrow, default)]
    group: Cow<'a, str>,
    #[serde(borrow, default)]
    resource: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
struct RequestUser<'a> {
    #[serde(borrow, default)]
    username: Cow<'a, str>,
}

#[derive(Deserialize)]
struct PodBody<'a, const MOST: usize> {
    #[serde(borrow, default)]
    metadata: Option<JsonObject<PodMetadata<'a, MOST>>>,
    #[serde(borrow, default)]
    spec: Option<JsonObject<PodBodySpec<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodMetadata<'a, const MOST: usize> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    generate_name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    labels: Option<LabelPairs<'a, MOST>>,
    #[serde(borrow, default)]
    annotations: Option<ReadAnnotations<'a>>,
    #[serde(default)]
    owner_references: ControllingOwner,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodBodySpec<'a> {
    #[serde(default)]
    host_network: Option<bool>,
    #[serde(borrow, default)]
    service_account_name: Option<Cow<'a, str>>,
    #[serde(default)]
    containers: ContainerTraces,
    #[serde(default)]
    init_containers: ContainerTraces,
}

/// Text that is borrowed from the body unless it holds escapes.
#[derive(Deserialize)]
struct JsonText<'a>(#[serde(borrow)] Cow<'a, str>);

/// LabelPairs of a map of texts, at most `MOST`. Skips the rest: a pair in memory takes many times its bytes in a body.
struct LabelPairs<'a, const MOST: usize> {
    kept: Labels<'a>,
    is_truncated: bool,
}

/// Annotations that we or any mesh read; the others are skipped.
struct ReadAnnotations<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// Owner reference with `controller: true`, if there is one.
#[derive(Default)]
struct ControllingOwner(Option<OwnerReference>);

/// Traces of an injector in a list of containers.
#[derive(Default)]
struct ContainerTraces {
    waits_for_proxy: bool,
    has_proxy: bool,
    has_proxy_init: bool,
}

impl<'a> ReadAnnotations<'a> {
    fn into_pod_annotations(self, mesh: &Mesh) -> PodAnnotations<'a> {
        let mut annotations = PodAnnotations { present: true, ..PodAnnotations::default() };
        let mut own_override = Override::default();
        for (key, value) in self.0 {
            match key.as_ref() {
                names::INJECT => own_override.inject = Some(value),
                names::REASON => own_override.reason = Some(value),
                names::UNTIL => own_override.until = Some(OverrideEnd::parse(value)),
                names::DECISION => annotations.receipt = Some(value),
                names::MIRROR => annotations.mirror = true,
                key if mesh.marker_place == MarkerPlace::Annotation && key == mesh.marker_key => {
                    annotations.marker = Some(value);
                }
                key if mesh.legacy_annotation == Some(key) => annotations.legacy = Some(value),
                _ => {}
            }
        }
        PodAnnotations { own_override, ..annotations }
    }
}

/// Returns whether an annotation of this key is read. There are few such keys, however many a client makes up.
fn is_read(key: &str) -> bool {
    matches!(key, names::INJECT | names::REASON | names::UNTIL | names::DECISION | names::MIRROR)
        || MESHES.iter().any(|mesh| mesh.marker_key == key || mesh.legacy_annotation == Some(key))
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for JsonObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<T, M::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(ObjectVisitor(PhantomData)).map(Self)
    }
}

impl<'de: 'a, 'a, const MOST: usize> Deserialize<'de> for LabelPairs<'a, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LabelVisitor<'a, const MOST: usize>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a, const MOST: usize> Visitor<'de> for LabelVisitor<'a, MOST> {
            type Value = LabelPairs<'a, MOST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of texts")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let (mut pairs, mut is_truncated) = (Vec::with_capacity(8), false);
                while let Some((JsonText(key), JsonText(value))) = map.next_entry()? {
                    if pairs.len() == MOST {
                        is_truncated = true;
                        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                        break;
                    }
                    pairs.push((key, value));
                }
                let twice = |key: String| serde::de::Error::custom(format_args!("duplicate key {key:?} in labels"));
                Labels::new(pairs).map(|kept| LabelPairs { kept, is_truncated }).map_err(twice)
            }
        }
        deserializer.deserialize_map(LabelVisitor(PhantomData))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for ReadAnnotations<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnnotationVisitor<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for AnnotationVisitor<'a> {
            type Value = ReadAnnotations<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of texts")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut kept: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
                while let Some(JsonText(key)) = map.next_key()? {
                    if !is_read(&key) {
                        map.next_value::<IgnoredAny>()?;
                    } else if kept.iter().any(|(other, _)| *other == key) {
                        return Err(serde::de::Error::custom(format_args!("duplicate key {key:?} in annotations")));
                    } else {
                        kept.push((key, map.next_value::<JsonText<'a>>()?.0));
                    }
                }
                Ok(ReadAnnotations(kept))
            }
        }
        deserializer.deserialize_map(AnnotationVisitor(PhantomData))
    }
}

impl<'de> Deserialize<'de> for ControllingOwner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Reference<'a> {
            #[serde(borrow, default)]
            api_version: Cow<'a, str>,
            #[serde(borrow, default)]
            kind: Cow<'a, str>,
            #[serde(borrow, default)]
            name: Cow<'a, str>,
            #[serde(borrow, default)]
            uid: Cow<'a, str>,
            #[serde(default)]
            controller: Option<bool>,
        }
        let mut controlling = Self::default();
        visit_list(deserializer, "a list of owner references", |reference: Reference<'_>| {
            if reference.controller == Some(true) && controlling.0.is_none() {
                let Reference { api_version, kind, name, uid, controller: _ } = reference;
                let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
                let (group, kind, name, uid) = (group.into(), (*kind).into(), (*name).into(), (*uid).into());
                controlling.0 = Some(OwnerReference { group, kind, name, uid });
            }
        })?;
        Ok(controlling)
    }
}

impl<'de> Deserialize<'de> for ContainerTraces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Container<'a> {
            #[serde(borrow, default)]
            name: Cow<'a, str>,
            #[serde(borrow, default)]
            image: Option<Cow<'a, str>>,
        }
        let mut containers = Self::default();
        visit_list(deserializer, "a list of containers", |Container { name, image }: Container<'_>| {
            containers.waits_for_proxy |= name == "istio-proxy" && image.as_deref() == Some("auto");
            // By these names Linkerd's injector recognizes its own sidecar and Istio's.
            containers.has_proxy |= name == "linkerd-proxy" || name == "istio-proxy";
            containers.has_proxy_init |= name == "linkerd-init" || name == "istio-init";
        })?;
        Ok(containers)
    }
}

/// Calls `take` for each element of a list; null counts as an empty list.
fn visit_list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
    expecting: &'static str,
    take: impl FnMut(T),
) -> Result<(), D::Error> {
    struct ListVisitor<T, F>(&'static str, F, PhantomData<T>);
    impl<'de, T: Deserialize<'de>, F: FnMut(T)> Visitor<'de> for ListVisitor<T, F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_unit<E>(self) -> Result<(), E> {
            Ok(())
        }

        fn visit_seq<S: SeqAccess<'de>>(mut self, mut sequence: S) -> Result<(), S::Error> {
            while let Some(element) = sequence.next_element()? {
                (self.1)(element);
            }
            Ok(())
        }
    }
    deserializer.deserialize_any(ListVisitor(expecting, take, PhantomData))
}
