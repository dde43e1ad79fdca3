//! Reads an AdmissionReview, borrowing from the body and skipping what no decision needs.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use thiserror::Error;

use crate::decision::facts::{Annotations, OwnerReference, Pod, RequestKind};
use crate::decision::mesh::{MESHES, Mesh, Place};
use crate::decision::owner_override::{Until, Wish};
use crate::decision::selector::Labels;
use crate::kernel::names;
use crate::kernel::text::Clean;

/// What a review asks about.
#[derive(Debug)]
pub(crate) struct PodRequest<'a> {
    /// Names the request; the answer repeats it.
    pub uid: Cow<'a, str>,
    /// Whether it creates a pod.
    pub kind: RequestKind<'a>,
    /// Who asks, as the API server authenticated them.
    pub username: Cow<'a, str>,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// The pod.
    pub pod: Pod<'a>,
    /// The pod's controlling owner, as the pod claims.
    pub controller: Option<OwnerReference>,
}

/// Why a body is no review that can be answered.
#[derive(Debug, Error)]
pub enum BadReview {
    /// The body is not JSON of the right shape.
    #[error("the body is not an AdmissionReview of admission.k8s.io/v1: {}", shortened(&.0.to_string()))]
    Shape(serde_json::Error),
    /// The body is not text.
    #[error("the body is not JSON: it holds invalid UTF-8 at byte {0}")]
    Encoding(usize),
    /// It is something else.
    #[error("the body is of kind {0:?}; send an AdmissionReview")]
    Kind(String),
    /// It is of another version.
    #[error(
        "the body is of version {0:?}; only admission.k8s.io/v1 is understood: set admissionReviewVersions to [v1]"
    )]
    Version(String),
    /// The pod has more labels than this.
    #[error("the pod has more than {0} labels, which is more than an API server can store")]
    Labels(usize),
    /// Something is missing without which there is no answer.
    #[error("{0} is missing")]
    Missing(&'static str),
}

/// The beginning and the end of what may quote a body; what is wrong stands at the end.
fn shortened(text: &str) -> String {
    const KEPT: usize = 200;
    let cut = |at: &dyn Fn(&usize) -> bool| text.char_indices().map(|(index, _)| index).find(at);
    let (head, tail) = (cut(&|index| *index >= KEPT), cut(&|index| index + KEPT >= text.len()));
    match (head, tail) {
        (Some(head), Some(tail)) if head < tail => format!("{} ... {}", Clean(&text[..head]), Clean(&text[tail..])),
        _ => text.chars().filter(|c| !c.is_control()).collect(),
    }
}

/// Reads a review with so many labels at most. The namespace of the request is the truth about where the pod goes.
pub(crate) fn parse<'a, const MOST: usize>(body: &'a [u8], mesh: &Mesh) -> Result<PodRequest<'a>, BadReview> {
    // Checked once for the whole body, so that no string in it is checked again, and none that is skipped goes unchecked.
    let text = std::str::from_utf8(body).map_err(|error| BadReview::Encoding(error.valid_up_to()))?;
    match serde_json::from_str::<Keyed<Review<'a, Keyed<Object<'a, MOST>>>>>(text) {
        Ok(Keyed(review)) => {
            understood(review, |object, request| pod_request(object.map(|Keyed(object)| object), request, mesh))
        }
        // Only a pod's object has to look like a pod.
        Err(error) => match serde_json::from_str::<Keyed<Review<'a, IgnoredAny>>>(text) {
            Ok(Keyed(review)) => understood(review, |_, request| match other_than_pod_creation(&request) {
                Some(kind) => Ok(bare(request, kind)),
                None => Err(BadReview::Shape(error)),
            }),
            Err(_) => Err(BadReview::Shape(error)),
        },
    }
}

fn understood<'a, O>(
    review: Review<'a, O>,
    answer: impl FnOnce(Option<O>, Request<'a>) -> Result<PodRequest<'a>, BadReview>,
) -> Result<PodRequest<'a>, BadReview> {
    let Review { api_version, kind, request } = review;
    if kind != "AdmissionReview" {
        return Err(BadReview::Kind(crate::kernel::text::sanitized(&kind)));
    }
    if api_version != "admission.k8s.io/v1" {
        return Err(BadReview::Version(crate::kernel::text::sanitized(&api_version)));
    }
    let (request, object) = request.ok_or(BadReview::Missing("request"))?.0.split();
    if request.uid.is_empty() {
        return Err(BadReview::Missing("request.uid"));
    }
    answer(object, request)
}

fn pod_request<'a, const MOST: usize>(
    object: Option<Object<'a, MOST>>,
    request: Request<'a>,
    mesh: &Mesh,
) -> Result<PodRequest<'a>, BadReview> {
    if let Some(kind) = other_than_pod_creation(&request) {
        return Ok(bare(request, kind));
    }
    let Object { metadata, spec } = object.ok_or(BadReview::Missing("request.object"))?;
    let Keyed(Metadata { name, generate_name, labels, annotations, owner_references }) =
        metadata.ok_or(BadReview::Missing("request.object.metadata"))?;
    let namespace = request.namespace.clone().ok_or(BadReview::Missing("request.namespace"))?;
    let Spec { host_network, service_account_name, containers, init_containers } =
        spec.map(|Keyed(spec)| spec).unwrap_or_default();
    if labels.as_ref().is_some_and(|labels| labels.are_more) {
        return Err(BadReview::Labels(MOST));
    }
    let pod = Pod {
        name,
        generate_name,
        namespace,
        labels: labels.map(|Pairs { kept, are_more: _ }| kept),
        annotations: annotations.map(|kept| kept.sorted_out(mesh)).unwrap_or_default(),
        host_network: host_network.unwrap_or_default(),
        service_account: service_account_name,
        waits_for_proxy: containers.waits_for_proxy || init_containers.waits_for_proxy,
        has_sidecar: containers.has_proxy || init_containers.has_proxy_init,
    };
    Ok(PodRequest { pod, controller: owner_references.0, ..bare(request, RequestKind::PodCreate) })
}

fn bare<'a>(request: Request<'a>, kind: RequestKind<'a>) -> PodRequest<'a> {
    let Request { uid, namespace, user_info, dry_run, .. } = request;
    let pod = Pod { namespace: namespace.unwrap_or_default(), ..Pod::default() };
    let username = user_info.unwrap_or_default().username;
    PodRequest { uid, kind, username, dry_run: dry_run.unwrap_or_default(), pod, controller: None }
}

/// What the request is about, where that is not the creation of a pod.
fn other_than_pod_creation<'a>(request: &Request<'a>) -> Option<RequestKind<'a>> {
    let Request { operation, resource: Resource { group, resource }, sub_resource, .. } = request;
    let sub_resource = sub_resource.as_deref().unwrap_or_default();
    if operation == "CREATE" && group.is_empty() && resource == "pods" && sub_resource.is_empty() {
        return None;
    }
    let slash = if sub_resource.is_empty() { "" } else { "/" };
    Some(RequestKind::Other(Cow::Owned(format!("{operation} {resource}{slash}{sub_resource}"))))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "O: Deserialize<'de>"))]
struct Review<'a, O> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    request: Option<Keyed<WithObject<'a, O>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "O: Deserialize<'de>"))]
struct WithObject<'a, O> {
    #[serde(borrow, default)]
    uid: Cow<'a, str>,
    #[serde(borrow, default)]
    resource: Keyed<Resource<'a>>,
    #[serde(borrow, default)]
    sub_resource: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    namespace: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    operation: Cow<'a, str>,
    #[serde(borrow, default)]
    user_info: Option<Keyed<UserInfo<'a>>>,
    #[serde(default)]
    dry_run: Option<bool>,
    #[serde(default = "Option::default")]
    object: Option<O>,
}

/// A struct that stands as an object, and not as the list that serde would take as well.
#[derive(Default)]
struct Keyed<T>(T);

/// A request without its object.
struct Request<'a> {
    uid: Cow<'a, str>,
    resource: Resource<'a>,
    sub_resource: Option<Cow<'a, str>>,
    namespace: Option<Cow<'a, str>>,
    operation: Cow<'a, str>,
    user_info: Option<UserInfo<'a>>,
    dry_run: Option<bool>,
}

impl<'a, O> WithObject<'a, O> {
    fn split(self) -> (Request<'a>, Option<O>) {
        let Self { uid, resource, sub_resource, namespace, operation, user_info, dry_run, object } = self;
        let (Keyed(resource), user_info) = (resource, user_info.map(|Keyed(user_info)| user_info));
        (Request { uid, resource, sub_resource, namespace, operation, user_info, dry_run }, object)
    }
}

#[derive(Default, Deserialize)]
struct Resource<'a> {
    #[serde(borrow, default)]
    group: Cow<'a, str>,
    #[serde(borrow, default)]
    resource: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
struct UserInfo<'a> {
    #[serde(borrow, default)]
    username: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Object<'a, const MOST: usize> {
    #[serde(borrow, default)]
    metadata: Option<Keyed<Metadata<'a, MOST>>>,
    #[serde(borrow, default)]
    spec: Option<Keyed<Spec<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a, const MOST: usize> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    generate_name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    labels: Option<Pairs<'a, MOST>>,
    #[serde(borrow, default)]
    annotations: Option<Kept<'a>>,
    #[serde(default)]
    owner_references: Controlling,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(default)]
    host_network: Option<bool>,
    #[serde(borrow, default)]
    service_account_name: Option<Cow<'a, str>>,
    #[serde(default)]
    containers: Containers,
    #[serde(default)]
    init_containers: Containers,
}

/// A text that is borrowed from the body unless it holds escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// All pairs of a map of texts, or so many of them. The rest is skipped: a pair takes many times its bytes in a body.
struct Pairs<'a, const MOST: usize> {
    kept: Labels<'a>,
    are_more: bool,
}

/// Those annotations that any mesh or we read.
struct Kept<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// The one owner that controls the pod.
#[derive(Default)]
struct Controlling(Option<OwnerReference>);

/// What containers say about the injector.
#[derive(Default)]
struct Containers {
    waits_for_proxy: bool,
    has_proxy: bool,
    has_proxy_init: bool,
}

impl<'a> Kept<'a> {
    fn sorted_out(self, mesh: &Mesh) -> Annotations<'a> {
        let mut annotations = Annotations { present: true, ..Annotations::default() };
        let mut wish = Wish::default();
        for (key, value) in self.0 {
            match key.as_ref() {
                names::INJECT => wish.inject = Some(value),
                names::REASON => wish.reason = Some(value),
                names::UNTIL => wish.until = Some(Until::read(value)),
                names::DECISION => annotations.receipt = Some(value),
                names::MIRROR => annotations.mirror = true,
                key if mesh.marker_place == Place::Annotation && key == mesh.marker_key => {
                    annotations.marker = Some(value);
                }
                key if mesh.legacy_annotation == Some(key) => annotations.legacy = Some(value),
                _ => {}
            }
        }
        Annotations { wish, ..annotations }
    }
}

/// Whether anything reads an annotation of this key. There are few such keys, however many a client makes up.
fn is_read(key: &str) -> bool {
    matches!(key, names::INJECT | names::REASON | names::UNTIL | names::DECISION | names::MIRROR)
        || MESHES.iter().any(|mesh| mesh.marker_key == key || mesh.legacy_annotation == Some(key))
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Keyed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<T, M::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Object(PhantomData)).map(Self)
    }
}

impl<'de: 'a, 'a, const MOST: usize> Deserialize<'de> for Pairs<'a, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Filling<'a, const MOST: usize>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a, const MOST: usize> Visitor<'de> for Filling<'a, MOST> {
            type Value = Pairs<'a, MOST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of texts")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let (mut pairs, mut are_more) = (Vec::with_capacity(8), false);
                while let Some((Text(key), Text(value))) = map.next_entry()? {
                    if pairs.len() == MOST {
                        are_more = true;
                        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                        break;
                    }
                    pairs.push((key, value));
                }
                let twice = |key: String| serde::de::Error::custom(format_args!("duplicate key {key:?} in labels"));
                Labels::new(pairs).map(|kept| Pairs { kept, are_more }).map_err(twice)
            }
        }
        deserializer.deserialize_map(Filling(PhantomData))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Kept<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Filling<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Filling<'a> {
            type Value = Kept<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of texts")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut kept: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
                while let Some(Text(key)) = map.next_key()? {
                    if !is_read(&key) {
                        map.next_value::<IgnoredAny>()?;
                    } else if kept.iter().any(|(other, _)| *other == key) {
                        return Err(serde::de::Error::custom(format_args!("duplicate key {key:?} in annotations")));
                    } else {
                        kept.push((key, map.next_value::<Text<'a>>()?.0));
                    }
                }
                Ok(Kept(kept))
            }
        }
        deserializer.deserialize_map(Filling(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Controlling {
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
        each(deserializer, "a list of owner references", |reference: Reference<'_>| {
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

impl<'de> Deserialize<'de> for Containers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Container<'a> {
            #[serde(borrow, default)]
            name: Cow<'a, str>,
            #[serde(borrow, default)]
            image: Option<Cow<'a, str>>,
        }
        let mut containers = Self::default();
        each(deserializer, "a list of containers", |Container { name, image }: Container<'_>| {
            containers.waits_for_proxy |= name == "istio-proxy" && image.as_deref() == Some("auto");
            // By these Linkerd's injector tells that it, or Istio's, was there already.
            containers.has_proxy |= name == "linkerd-proxy" || name == "istio-proxy";
            containers.has_proxy_init |= name == "linkerd-init" || name == "istio-init";
        })?;
        Ok(containers)
    }
}

/// Calls `take` for each element of a list, or for none where there is null.
fn each<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
    expecting: &'static str,
    take: impl FnMut(T),
) -> Result<(), D::Error> {
    struct Each<T, F>(&'static str, F, PhantomData<T>);
    impl<'de, T: Deserialize<'de>, F: FnMut(T)> Visitor<'de> for Each<T, F> {
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
    deserializer.deserialize_any(Each(expecting, take, PhantomData))
}
