"""What fails in the suites through the middleware, and why that is as it should be."""

from __future__ import annotations

#: It fails without the middleware too.
WITHOUT = "Flask 3.1.3 expects an answer of older versions of Werkzeug"
LINT = (
    "wsgiref.validate refuses whatever in the environ has a name without a dot and is no str, so it cannot be put "
    "inside of the middleware"
)
STR = (
    "the application's body is a str, which no server sends; its message is not stored for an answer that cannot leave"
)
NOT_STR = (
    "the application gives a header that is an int or bytes, which PEP 3333 forbids; its message is not stored for an "
    "answer that servers refuse"
)
LATE = (
    "with a message waiting the start is held back, so that a failure after it becomes a whole answer of status 500 in "
    "place of one that ends short"
)
RAISES = (
    "with a message waiting the start is held back, so the server's refusal comes when the application has returned; "
    "this one relies on the exception, and returns None"
)

_WSGIREF = "::IntegrationTests::test_"
#: By suite: test → (when, reason). `says`: with a message only; `long`: in a file that only the long form runs.
_KNOWN: dict[str, dict[str, tuple[str, str]]] = {
    "werkzeug": {
        **{
            f"tests/{name}": ("says", STR)
            for name in (
                "test_test.py::test_path_info_script_name_unquoting",
                "test_test.py::test_run_wsgi_apps[True-True]",
                "test_test.py::test_run_wsgi_apps[True-False]",
                "test_test.py::test_run_wsgi_apps[False-True]",
                "test_test.py::test_run_wsgi_apps[False-False]",
                "test_test.py::test_run_wsgi_app_closing_iterator",
                "test_wrappers.py::test_type_forcing",
                "test_wsgi.py::test_closing_iterator",
            )
        },
    },
    "flask": {"tests/test_reqctx.py::test_bad_environ_raises_bad_request": ("always", WITHOUT)},
    "webob": {
        "tests/test_exc.py::test_HTTPOk_head_of_proxied_head": ("says", NOT_STR),
        "tests/test_request.py::TestRequest_functional::test_middleware_body": ("says", NOT_STR),
        **{
            f"tests/test_request.py::TestRequestCommon::test_call_application_{name}": ("says", STR)
            for name in (
                "calls_application",
                "provides_write",
                "closes_iterable_when_mixed_w_write_calls",
                "raises_exc_info",
                "returns_exc_info",
            )
        },
        **{
            f"tests/test_response.py::test_{name}": ("says", STR)
            for name in (
                "response",
                "set_response_status_binary",
                "set_response_status_str_no_reason",
                "set_response_status_str_generic_reason",
                "set_response_status_code",
                "set_response_status_bad",
                "set_response_status_code_generic_reason",
                "cookies",
                "conditional_response_if_none_match_false",
                "conditional_response_if_none_match_weak",
                "conditional_response_if_modified_since_true",
            )
        },
    },
    "bottle": {},
    "waitress": {
        **{
            f"tests/test_functional.py::{kind}InternalServerErrorTests::test_{name}": ("says long", LATE)
            for kind in ("Tcp", "Unix")
            for name in ("after_write_cb", "in_generator")
        },
        "tests/test_task.py::TestWSGITask::test_execute_app_returns_empty_chunk_as_first": ("says", STR),
        **{
            f"tests/test_task.py::TestWSGITask::test_execute_{name}": ("says", RAISES)
            for name in (
                "app_calls_start_response_w_excinf_headers_written",
                "bad_header_key",
                "bad_header_name_control_characters",
                "bad_header_value",
                "bad_header_value_control_characters",
                "bad_status_control_characters",
                "bad_status_value",
                "hopbyhop_header",
            )
        },
    },
    "wsgiref": {
        **{
            f"{_WSGIREF}{name}": ("always", LINT)
            for name in ("bytes_validation", "cp1252_url", "simple_validation_error", "validated_hello", "wsgi_input")
        },
        "::HandlerTests::testErrorAfterOutput": ("says", LATE),
    },
}


def known_failures(suite: str, *, says: bool, everything: bool) -> dict[str, str]:
    """Return the tests that fail, with the reason of each."""
    return {
        test: reason
        for test, (when, reason) in _KNOWN[suite].items()
        if ("says" not in when or says) and ("long" not in when or everything)
    }
