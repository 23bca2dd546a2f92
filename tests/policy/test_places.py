import pytest

from proxy.policy.places import place_of, split_host


@pytest.mark.parametrize(
    ("text", "host", "target"),
    [
        ("/", None, b"/"),
        ("/a?b=c", None, b"/a?b=c"),
        ("//evil", None, b"//evil"),
        ("/caf\xe9", None, b"/caf\xe9"),
        ("http://shop/a", b"shop", b"/a"),
        ("https://shop/a?b", b"shop", b"/a?b"),
        ("HTTP://SHOP.Example./A", b"shop.example", b"/A"),
        ("http://shop", b"shop", b"/"),
        ("http://shop?b", b"shop", b"/?b"),
        ("http://shop:80/", b"shop", b"/"),
        ("https://shop:80/", b"shop:80", b"/"),
        ("https://shop:443/", b"shop", b"/"),
        ("http://shop:443/", b"shop:443", b"/"),
        ("http://shop:/", b"shop", b"/"),
        ("http://shop.:8080/", b"shop:8080", b"/"),
        ("http://[::1]:8080/a", b"[::1]:8080", b"/a"),
        ("http://[::1]/a", b"[::1]", b"/a"),
    ],
)
def test_host_is_in_the_form_of_requests(text, host, target):
    assert place_of(text) == (host, target)


@pytest.mark.parametrize(
    "text",
    ["", "a", "?a", "shop/a", "ftp://shop/a", "http:///a", "http://./a", "http://user@shop/", "http://a b/"],
)
def test_other_texts_are_refused_with_what_was_expected(text):
    with pytest.raises(ValueError, match=r"expected /path or http\(s\)://host/path, found "):
        place_of(text)


@pytest.mark.parametrize("text", ["/a#b", "http://shop/#"])
def test_fragments_are_refused(text):
    with pytest.raises(ValueError, match="expected no fragment"):
        place_of(text)


def test_text_that_is_no_bytes_is_refused():
    with pytest.raises(ValueError, match="latin-1"):
        place_of("/€")


def test_what_follows_the_host_stays_text():
    assert split_host("http://shop/caf€/*") == (b"shop", "/caf€/*")
