"""The pool and volume documents: completed and refused as libvirt's test driver does."""

from __future__ import annotations

import re

import pytest

from tests.support.oracle import answers
from virtbus_shared.errors import LibvirtError
from virtbus_storage.xml import (
    Timestamps,
    clean_path,
    complete_pool,
    complete_volume,
    format_pool,
    format_volume,
    parse_pool,
    parse_volume,
)

TARGET = "<target><path>/a</path></target>"


def _pool(kind: str, body: str) -> str:
    return f"<pool type='{kind}'><name>x</name>{body}</pool>"


def _volume(body: str, attributes: str = "") -> str:
    return f"<volume{attributes}><name>x</name>{body}</volume>"


POOLS = {
    "path is cleaned": _pool("dir", "<target><path>/a//b/</path></target>"),
    "relative path": _pool("dir", "<target><path>a</path></target>"),
    "permissions": _pool("dir", "<capacity>zz</capacity><target><permissions><label>l</label><owner>1</owner>"
                                "<group>2</group><mode>0755</mode></permissions><path>/a</path></target>"),
    "unset owner": _pool("dir", "<target><path>/a</path><permissions><owner>-1</owner></permissions></target>"),
    "logical": _pool("logical", ""),
    "netfs": _pool("netfs", f"<source><dir path='/e'/><host name='h'/></source>{TARGET}"),
    "fs": _pool("fs", f"<uuid>7641d5a8-af11-f730-a34e-0a7dfcede71f</uuid><source><device path='/dev/a'/></source>"
                      f"{TARGET}"),
    "disk": _pool("disk", f"<source><device path='/dev/a'/><format type='gpt'/></source>{TARGET}"),
    "iscsi": _pool("iscsi", "<source><host name='h'/><device path='t'/><auth type='chap' username='u'>"
                            "<secret uuid='2ec115d7-3a88-3ceb-bc12-0ac909a6fd87'/></auth><product name='p'/>"
                            f"<vendor name='v'/></source>{TARGET}"),
}

REFUSED_POOLS = [
    "", "<p/>", "<pool/>", "<pool type='foo'/>", "<pool type='dir'/>", f"<pool type='dir'>{TARGET}</pool>",
    "<pool type='dir'><name>a/b</name><target><path>/a</path></target></pool>",
    *(_pool("dir", body) for body in ("", "<target/>", f"<uuid>z</uuid>{TARGET}")),
    *(_pool("dir", f"<target><path>/a</path><permissions>{body}</permissions></target>")
      for body in ("<mode>zz</mode>", "<mode>01755</mode>", "<mode>755</mode><owner>x</owner>")),
    _pool("netfs", TARGET),
    _pool("fs", f"<source><device path='/dev/a'/><format type='foo'/></source>{TARGET}"),
]

SIZE = "<capacity>10</capacity>"

VOLUMES = {
    "least": _volume("<capacity unit='M'>10</capacity>"),
    "sparse": _volume("<capacity unit='MB'>10</capacity><allocation>0</allocation>"),
    "input that is output": _volume(f"<key>k</key>{SIZE}<physical>1</physical><target><path>/zz</path><timestamps>"
                                    "<atime>1.2</atime></timestamps></target>", " type='block'"),
    "target": _volume(f"{SIZE}<target><features><lazy_refcounts/></features><format type='qcow2'/><permissions>"
                      "<mode>0644</mode><owner>1</owner><group>2</group><label>l</label></permissions></target>"),
    "compat": _volume(f"{SIZE}<target><compat>0.10</compat><format type='qcow2'/>"
                      "<clusterSize unit='KiB'>64</clusterSize></target>"),
    "copy on write": _volume(f"{SIZE}<target><nocow/></target>"),
    "encryption": _volume(f"{SIZE}<target><format type='qcow2'/><encryption format='luks'><secret type='passphrase' "
                          "uuid='e78d4b51-a2af-485f-b0f5-afca709a80f4'/></encryption></target>"),
    "backing store": _volume(f"{SIZE}<backingStore><format type='qcow2'/><path>/b</path><permissions><mode>0600</mode>"
                             "</permissions></backingStore>"),
    "no backing store": _volume(f"{SIZE}<backingStore/><target><permissions/></target>"),
}

REFUSED_VOLUMES = [
    "", "<v/>", "<volume/>", "<volume><name></name><capacity>1</capacity></volume>",
    *map(_volume, (
        "", "<capacity>a</capacity>", "<capacity unit='q'>1</capacity>", "<capacity unit='EiB'>100</capacity>",
        f"{SIZE}<target><format type='foo'/></target>", f"{SIZE}<target><compat>2</compat></target>",
        f"{SIZE}<target><features><foo/></features></target>")),
    _volume(SIZE, " type='foo'"),
]


def _completed_pool(document: str) -> str:
    pool = parse_pool(document)
    complete_pool(pool)
    # The figures are facts of a pool; these are what the test driver says of each of its own.
    pool.capacity, pool.allocation, pool.available = 107374182400, 0, 107374182400
    return format_pool(pool)


def _completed_volume(document: str) -> str:
    volume = parse_volume(document)
    complete_volume(volume)
    assert volume.target is not None
    volume.key = volume.target.path = f"/default-pool/{volume.name}"
    return format_volume(volume)


@pytest.mark.parametrize("case", POOLS)
def test_pool_is_completed_as_by_libvirt(case: str) -> None:
    """Parsed, completed and written, the pool is libvirt's, and defining it again changes nothing."""
    ours = _completed_pool(POOLS[case])
    theirs = answers("pool", list(POOLS.values()))[list(POOLS).index(case)]
    assert isinstance(theirs, str)
    uuid = "<uuid>.*</uuid>" if "<uuid>" not in POOLS[case] else "no uuid to replace"
    assert re.sub(uuid, "*", ours) == re.sub(uuid, "*", theirs)
    assert _completed_pool(ours) == ours


@pytest.mark.parametrize("case", VOLUMES)
def test_volume_is_completed_as_by_libvirt(case: str) -> None:
    """Parsed, completed and written, the volume is libvirt's, and creating it again changes nothing."""
    ours = _completed_volume(VOLUMES[case])
    assert ours == answers("volume", list(VOLUMES.values()))[list(VOLUMES).index(case)]
    assert _completed_volume(ours) == ours


def _without_path(message: str) -> str:
    return re.sub(r" \(at /(pool|volume)[a-zA-Z/]*\)$", "", message)


@pytest.mark.parametrize("number", range(len(REFUSED_POOLS)))
def test_pool_refusal_is_libvirts(number: int) -> None:
    """Error number, domain and message are libvirt's, apart from the path that ours adds."""
    with pytest.raises(LibvirtError) as refused:
        parse_pool(REFUSED_POOLS[number])
    ours = (refused.value.code, refused.value.domain, _without_path(refused.value.message))
    assert ours == answers("pool", REFUSED_POOLS)[number]


@pytest.mark.parametrize("number", range(len(REFUSED_VOLUMES)))
def test_volume_refusal_is_libvirts(number: int) -> None:
    """Error number, domain and message are libvirt's, apart from the path that ours adds."""
    with pytest.raises(LibvirtError) as refused:
        parse_volume(REFUSED_VOLUMES[number])
    ours = (refused.value.code, refused.value.domain, _without_path(refused.value.message))
    assert ours == answers("volume", REFUSED_VOLUMES)[number]


def test_facts_of_a_volume_are_written_in_order() -> None:
    """Physical size and times, which only a real volume has, stand where libvirt puts them."""
    volume = parse_volume(_volume(SIZE))
    complete_volume(volume)
    assert volume.target is not None
    volume.physical, volume.target.path = 4096, "/p/x"
    volume.target.timestamps = Timestamps(atime="1.000000002", mtime="3.000000000", ctime="4.000000000")
    assert format_volume(volume) == """\
<volume type='file'>
  <name>x</name>
  <capacity unit='bytes'>10</capacity>
  <allocation unit='bytes'>10</allocation>
  <physical unit='bytes'>4096</physical>
  <target>
    <path>/p/x</path>
    <format type='raw'/>
    <timestamps>
      <atime>1.000000002</atime>
      <mtime>3.000000000</mtime>
      <ctime>4.000000000</ctime>
    </timestamps>
  </target>
</volume>
"""


@pytest.mark.parametrize(("path", "clean"), [
    ("/", "/"), ("//a///b//", "/a/b"), ("a/", "a"), ("/a/../b", "/a/../b")])
def test_paths_are_cleaned(path: str, clean: str) -> None:
    """Doubled and final slashes go; dots stay, because a link may give them a meaning."""
    assert clean_path(path) == clean
