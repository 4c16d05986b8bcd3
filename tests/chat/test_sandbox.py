"""Templates are programs of others: what they may do, what they may not, and that they end."""

from __future__ import annotations

import json
import time
from datetime import datetime

import pytest

from groundup.chat.errors import TemplateError
from groundup.chat.templates import ChatTemplate
from groundup.core.errors import GroundupError

TALK = [{"role": "user", "content": "a\nb"}]


def rendered(source: str, **more) -> str:
    return ChatTemplate(source, "it").render(TALK, tokens={"bos_token": "<s>"}, **more)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{% for m in messages %}\n  {% if true %}\nx\n  {% endif %}\n{% endfor %}", "x\n"),  # blocks are trimmed
        (
            "{% for i in range(9) %}{% if i == 1 %}{% continue %}{% elif i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
            "02",
        ),
        ("{{ {'a': '<é>', 'b': [1, true, none]} | tojson }}", '{"a": "<é>", "b": [1, true, null]}'),
        (
            "{{ {'b': 1, 'a': 'é'} | tojson(ensure_ascii=True, sort_keys=True, separators=(',', ':')) }}",
            '{"a":"\\u00e9","b":1}',
        ),
        ("{{ messages | tojson(indent=2) }}", json.dumps(TALK, indent=2)),
        ("{{ strftime_now('%d %b %Y') }}", "26 Jul 2024"),
        ("{% set ns = namespace(a=1) %}{% set ns.a = 2 %}{{ ns.a }}{{ dict(x=1).x }}", "21"),
        ("{{ bos_token }}{{ tools is none }}{{ documents is none }}{{ add_generation_prompt }}", "<s>TrueTrueFalse"),
        ("{{ '%s-%03d' % ('a', 7) }}{{ '%s' | format('b') }}{{ '{:>3}'.format('c') }}{{ 'x' * 3 }}", "a-007b  cxxx"),
        ("{{ messages[0].content | indent(2) }}", "a\n  b"),
        ("{{ '{{\"a\": {:>2}}}'.format(1) }}{{ '2 * 3 = %d, 12345 %s' % (6, 'x') }}", '{"a":  1}2 * 3 = 6, 12345 x'),
        ("{{ messages | map(attribute='role') | join('+') }}{{ 'ab' | join('-') }}{{ nothing | join }}", "usera-b"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ [[1, 2]] | string }}", "1[[1, 2]]"),
        (
            "{{ 'aXb' | replace('X', '-') }}{{ ['b', 'a'] | sort | join(attribute=none) }}{{ none }}{{ nothing }}",
            "a-babNone",
        ),
        ("{{ [{'a': 1}, {'a': 2}] | join(', ', attribute='a') }}{{ [3] | map('string') | join }}", "1, 23"),
    ],
)
def test_the_dialect(source: str, text: str) -> None:
    assert rendered(source) == text


def test_the_date_can_be_given() -> None:
    assert rendered("{{ strftime_now('%Y') }}", now=datetime(2031, 1, 1)) == "2031"


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__ }}{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ range.__init__.__globals__ }}",
        "{{ raise_exception.__globals__['__builtins__'] }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ strftime_now.__self__.__reduce__() }}",
        "{% set ns = namespace(__class__=1) %}{{ 'x' }}",
        "{% set ns = namespace() %}{% set ns._x = 1 %}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{% do messages.append(1) %}{{ messages.append(1) }}",
        "{{ messages[0].update({'role': 'x'}) }}",
        "{{ lipsum(3) }}",
    ],
)
def test_there_is_no_way_out(source: str) -> None:
    try:
        text = rendered(source)
    except GroundupError:
        return
    assert text == "" or "class" not in text  # an unsafe attribute alone is nothing


@pytest.mark.parametrize(
    "source",
    [
        "{% set r = range(99999) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ 'x' * 999999999 }}",
        "{{ 'x' * 99999999 * 9999 }}",
        "{{ [1] * 999999999 }}",
        "{{ 9 ** 99999999 }}",
        "{{ '%0999999999d' % 1 }}",
        "{{ '%*d' % (999999999, 1) }}",
        "{{ '%0999999999d' | format(1) }}",
        "{{ '{:0999999999}'.format(1) }}",
        "{{ '{:{}}'.format(1, 999999999) }}",
        "{% set f = '{:0999999999}'.format %}{{ f(1) }}",
        "{{ 'x'.ljust(999999999) }}",
        "{{ 'x' | center(999999999) }}",
        "{{ 'x' | indent(999999999, true) }}",
        "{{ [1] | tojson(indent=999999999) }}",
        "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
        "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
        "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] | join %}{% endfor %}{{ ns.s }}",
        "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s.join([ns.s, ns.s]) %}{% endfor %}",
        "{% set ns = namespace(s='xx') %}{% for i in range(60) %}{% set ns.s = ns.s | replace('x', ns.s) %}{% endfor %}",
        "{% set ns = namespace(s='xx') %}{% for i in range(60) %}{% set ns.s = ns.s.replace('x', ns.s) %}{% endfor %}",
        "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set t %}{{ ns.s }}{{ ns.s }}{% endset %}"
        "{% set ns.s = t %}{% endfor %}",
        "{% macro f(s) %}{{ s }}{{ s }}{% endmacro %}{% set ns = namespace(s='x') %}"
        "{% for i in range(60) %}{% set ns.s = f(ns.s) %}{% endfor %}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s | tojson }}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    ],
)
def test_endless_work_ends(source: str) -> None:
    begun = time.process_time()
    with pytest.raises(GroundupError):
        rendered(source)
    assert time.process_time() - begun < 10


def test_faults_name_the_template() -> None:
    with pytest.raises(GroundupError, match=r"chat template it is not valid Jinja: line 2"):
        ChatTemplate("{{ 1 }}\n{% if %}", "it")
    with pytest.raises(TemplateError, match="chat template it refuses: no such thing"):
        rendered("{{ raise_exception('no such thing') }}")
    with pytest.raises(TemplateError, match="needs what is not there: 'dict object' has no attribute 'x'"):
        rendered("{{ messages[0].x.y }}")
