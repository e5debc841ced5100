"""A vault in a bucket: lost answers, refusals, versions, and what the environment may say; over the real protocol."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from s3_server import SECRET, S3Server

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.error import AuthError, FailedError, NotFoundError, QlikmigrateError, UsageError
from qlikmigrate.vault.store import ImmutableError, ObjectExistsError, ObjectMissingError, Store, open_store

MakeBucket = Callable[[str], str]


@pytest.fixture
def location(make_bucket: MakeBucket) -> str:
    """A plain bucket, with a prefix."""
    return make_bucket("plain")


@pytest.fixture
def store(location: str, clock: ManualClock) -> Store:
    """A store in it that has shown that conditions count there, so that each creation is one request."""
    store = open_store(location, clock=clock)
    store.create("vault.json", b"{}")
    return store


def requests(s3: S3Server, method: str) -> int:
    return sum(seen == method for seen, _ in s3.seen)


@pytest.mark.parametrize("fault", ["lost", "500 InternalError-after"])
def test_a_put_whose_answer_was_lost_meets_its_own_object(s3: S3Server, store: Store, fault: str) -> None:
    """It is repeated, refused, and the object's bytes say that the first one arrived."""
    s3.calm()
    s3.faults = [("PUT", fault)]
    store.create("packs/a", b"ours")
    assert requests(s3, "PUT") == 2
    assert store.read("packs/a") == b"ours"


def test_a_lost_put_does_not_take_another_object_for_its_own(s3: S3Server, location: str, store: Store) -> None:
    """An answer was lost, but what stands there is somebody else's: the creation failed."""
    open_store(location).create("locks/00000001", b"theirs")
    s3.faults = [("PUT", "lost")]
    with pytest.raises(ObjectExistsError):
        store.create("locks/00000001", b"ours")
    assert store.read("locks/00000001") == b"theirs"


def test_a_plain_conflict_is_one_even_with_equal_bytes(s3: S3Server, location: str, store: Store) -> None:
    """No answer was lost, so the equal object is somebody else's, and it is not even read."""
    open_store(location).create("packs/a", b"equal")
    s3.calm()
    with pytest.raises(ObjectExistsError):
        store.create("packs/a", b"equal")
    assert s3.seen == [("PUT", s3.seen[0][1])]


def test_puts_that_met_are_repeated(s3: S3Server, store: Store) -> None:
    """409 says that two met, not that one of them is there."""
    s3.faults = [("PUT", "409 ConditionalRequestConflict")] * 2
    store.create("packs/a", b"ours")
    assert store.read("packs/a") == b"ours"


@pytest.mark.parametrize("fault", ["503 SlowDown", "500 InternalError", "429 TooMany", "400 RequestTimeout", "lost"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_busy_server_is_asked_again(s3: S3Server, store: Store, clock: ManualClock, method: str, fault: str) -> None:
    """Three failures in a row harm nothing, and each is followed by a pause."""
    began = clock.monotonic()
    s3.faults = [(method, fault)] * 3
    store.create("packs/a", b"x")
    assert store.read("packs/a") == b"x"
    store.delete("packs/a")
    assert s3.faults == []
    assert clock.monotonic() - began > 1.5


def test_an_answer_that_breaks_off_is_read_again(s3: S3Server, store: Store) -> None:
    """Half of an object is never taken for all of it."""
    data = bytes(range(256)) * 4000
    store.create("packs/a", data)
    s3.faults = [("GET", "cut")]
    assert store.read("packs/a") == data
    s3.faults = [("GET", "cut")]
    assert store.read("packs/a", 10, 500_000) == data[10:500_010]


def test_a_server_that_stays_away_is_given_up(s3: S3Server, store: Store, clock: ManualClock) -> None:
    """The number of tries and the time for them are bounded; nothing is written after that."""
    s3.calm()
    s3.faults = [("PUT", "503 SlowDown")] * 20
    with pytest.raises(FailedError) as failure:
        store.create("packs/a", b"x")
    assert failure.value.code == "store-failed"
    assert "503 SlowDown" in failure.value.message
    assert requests(s3, "PUT") == 5
    assert clock.monotonic() < 20


def test_nobody_there(monkeypatch: pytest.MonkeyPatch, location: str) -> None:
    """A port that nobody listens at: exit 1, one line."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    store = open_store(location, clock=ManualClock())
    for call in (lambda: store.read("vault.json"), lambda: store.create("a", b"x"), lambda: store.entries("")):
        with pytest.raises(FailedError) as failure:
            call()
        assert (failure.value.code, failure.value.exit_code) == ("store-unreachable", 1)
        assert failure.value.message == f"{location} cannot be reached"


@pytest.mark.parametrize(
    "fault", ["401 Unauthorized", "403 AccessDenied", "403 InvalidAccessKeyId", "400 ExpiredToken"]
)
def test_refused_credentials(s3: S3Server, store: Store, fault: str) -> None:
    """Exit 20 at once, with the server's word for it, and nothing of what was sent."""
    calls = {
        "PUT": lambda: store.create("packs/a", b"x"),
        "GET": lambda: store.read("vault.json"),
        "DELETE": lambda: store.delete("packs/a"),
    }
    for method, call in calls.items():
        s3.calm()
        s3.faults = [(method, fault)]
        if (method, fault) == ("DELETE", "403 AccessDenied"):
            continue
        with pytest.raises(AuthError) as refusal:
            call()
        assert (refusal.value.code, refusal.value.exit_code) == ("store-refused", 20)
        assert refusal.value.message.endswith(f"refused the credentials: {fault}")
        assert SECRET not in refusal.value.message + refusal.value.hint
        assert requests(s3, method) == 1
    s3.faults = [("GET", fault)]
    with pytest.raises(AuthError):
        store.entries("packs")


def test_no_credentials(monkeypatch: pytest.MonkeyPatch, location: str) -> None:
    """None in the environment, and the machine gives none: said at once, with the names of the variables."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    clock = ManualClock()
    with pytest.raises(AuthError) as refusal:
        open_store(location, clock=clock).read("vault.json")
    assert "no credentials" in refusal.value.message
    assert "AWS_ACCESS_KEY_ID" in refusal.value.hint
    assert clock.monotonic() == 0


def test_no_such_bucket(s3: S3Server, clock: ManualClock) -> None:
    """Exit 10; none is made."""
    store = open_store("s3://nowhere/x", clock=clock)
    for call in (lambda: store.read("a"), lambda: store.create("a", b"x"), lambda: store.entries("packs")):
        with pytest.raises(NotFoundError) as failure:
            call()
        assert failure.value.code == "no-bucket"
    assert s3.client.list_buckets(Prefix="nowhere")["Buckets"] == []


def test_a_deletion_that_is_forbidden(s3: S3Server, store: Store) -> None:
    """A writer that may add and not delete: told apart from credentials that are no good."""
    s3.faults = [("DELETE", "403 AccessDenied")]
    with pytest.raises(ImmutableError) as refusal:
        store.delete("vault.json")
    assert (refusal.value.code, refusal.value.exit_code) == ("store-immutable", 6)
    assert store.read("vault.json") == b"{}"


def test_a_server_that_ignores_conditions_is_not_trusted(s3: S3Server, location: str, clock: ManualClock) -> None:
    """It would give one lock to two holders: seen with the first small object, by what it answers to a second one."""
    s3.ignores_conditions = True
    with pytest.raises(FailedError) as failure:
        open_store(location, clock=clock).create("locks/00000001", b"ours")
    assert failure.value.code == "store-overwrites"
    assert "If-None-Match" in failure.value.hint


def test_that_conditions_count_is_seen_once(s3: S3Server, location: str, clock: ManualClock) -> None:
    """One request more for a store, not for an object."""
    store = open_store(location, clock=clock)
    s3.calm()
    for number in range(5):
        store.create(f"packs/{number}", b"x")
    assert requests(s3, "PUT") == 6


def test_a_server_that_knows_no_conditions(s3: S3Server, store: Store) -> None:
    """501 is not asked again."""
    s3.calm()
    s3.faults = [("PUT", "501 NotImplemented")] * 2
    with pytest.raises(FailedError, match="501 NotImplemented"):
        store.create("packs/a", b"x")
    assert len(s3.faults) == 1


@pytest.mark.parametrize(
    ("kind", "immutable"), [("plain", False), ("versioned", True), ("locked", True), ("suspended", False)]
)
def test_buckets_that_keep_what_is_deleted(make_bucket: MakeBucket, kind: str, immutable: bool) -> None:
    """Seen by whoever wrote, and by whoever only reads; the store works all the same."""
    location = make_bucket(kind)
    assert not open_store(location).is_immutable()
    writer = open_store(location)
    writer.create("packs/a", b"x")
    assert writer.is_immutable() is immutable
    assert open_store(location).is_immutable() is immutable
    with pytest.raises(ObjectExistsError):
        writer.create("packs/a", b"y")
    writer.delete("packs/a")
    with pytest.raises(ObjectMissingError):
        writer.read("packs/a")


def test_versions_that_were_switched_on_later(s3: S3Server, make_bucket: MakeBucket) -> None:
    """The newest object tells, even when older ones are from before."""
    location = make_bucket("plain")
    bucket = location.split("/")[2]
    open_store(location).create("vault.json", b"{}")
    s3.client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    writer = open_store(location)
    assert not writer.is_immutable()
    writer.create("packs/a", b"x")
    assert writer.is_immutable()


def test_an_object_under_lock_stays_below_its_deletion(s3: S3Server, make_bucket: MakeBucket) -> None:
    """Deleting in a locked bucket only hides: the version is still there, and may not be taken away."""
    location = make_bucket("locked")
    _, _, bucket, prefix = location.split("/", 3)
    store = open_store(location)
    store.create("packs/a", b"kept")
    store.delete("packs/a")
    assert store.entries("packs") == []
    versions = s3.client.list_object_versions(Bucket=bucket, Prefix=f"{prefix}/packs/a")["Versions"]
    kept = s3.client.get_object(Bucket=bucket, Key=f"{prefix}/packs/a", VersionId=versions[0]["VersionId"])
    assert kept["Body"].read() == b"kept"
    assert kept["ObjectLockMode"] == "COMPLIANCE"


def test_the_prefix_is_a_folder_of_its_own(make_bucket: MakeBucket) -> None:
    """Two vaults in one bucket do not see each other, nor does one whose name begins like another's."""
    bucket = "/".join(make_bucket("plain").split("/")[:3])
    for location in (bucket, f"{bucket}/a", f"{bucket}/ab", f"{bucket}/a/b/"):
        store = open_store(location)
        assert store.location == location.rstrip("/")
        assert store.entries("packs") == []
        store.create("packs/x", location.encode())
        assert store.read("packs/x") == location.encode()


@pytest.mark.parametrize(
    "location",
    [
        "s3://",
        "s3:///x",
        "s3://b/../x",
        "s3://b//x",
        "s3://key:secret@bucket/x",
        "s3://bucket/x?key=secret",
        "s3://bu cket",
    ],
)
def test_locations_that_are_none(location: str) -> None:
    """Refused before anything is sent, without showing what may be a secret."""
    with pytest.raises(UsageError) as refusal:
        open_store(location)
    assert "secret" not in refusal.value.message + refusal.value.hint


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
@pytest.mark.parametrize(
    "url", ["http://store.example", "http://10.0.0.1:9000", "ftp://x", "https://key@x", "nonsense"]
)
@pytest.mark.usefixtures("s3")
def test_endpoints_that_are_none(variable: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without TLS only this machine is spoken to."""
    monkeypatch.setenv(variable, url)
    with pytest.raises(UsageError) as refusal:
        open_store("s3://bucket/x")
    assert variable in refusal.value.message
    assert "key" not in refusal.value.message


@pytest.mark.parametrize("location", ["s3://bucket/x", "gs://bucket/x", "az://container/x"])
def test_without_the_extra(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """obstore is not installed: the command that brings it, and folders work as ever."""
    monkeypatch.delitem(sys.modules, "qlikmigrate.vault.store.object_store", raising=False)
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UsageError) as refusal:
        open_store(location)
    assert refusal.value.hint == "pip install 'qlikmigrate[s3]'"
    assert open_store("/somewhere").entries("packs") == []


def test_other_services_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Google's and Azure's buckets are taken as locations; what Azure needs from the environment is asked for."""
    assert open_store("gs://bucket/x").location == "gs://bucket/x"
    assert not open_store("gs://bucket/x").is_immutable()
    with pytest.raises(UsageError, match="az://container/x"):
        open_store("az://container/x")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    assert open_store("az://container/x").location == "az://container/x"


def test_every_error_is_one_line(s3: S3Server, store: Store) -> None:
    """Whatever a server answers, it is one line without its words."""
    for fault in ("400 Odd", "302 Moved", "418 Teapot", "505 Odd"):
        s3.faults = [("GET", fault)] * 9
        with pytest.raises(QlikmigrateError) as failure:
            store.read("vault.json")
        assert len(failure.value.message.splitlines()) == 1
        assert SECRET not in failure.value.message


@pytest.mark.parametrize("fault", ["301 PermanentRedirect", "400 AuthorizationHeaderMalformed"])
def test_the_wrong_region_is_guessed(s3: S3Server, store: Store, fault: str) -> None:
    """Both are what a bucket of another region answers; neither is asked again."""
    s3.calm()
    s3.faults = [("GET", fault)] * 2
    with pytest.raises(FailedError) as failure:
        store.read("vault.json")
    assert (failure.value.code, len(s3.faults)) == ("store-failed", 1)
    assert "AWS_REGION" in failure.value.hint
