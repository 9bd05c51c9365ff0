"""A person who follows an administrator's link to what a client asks, and answers."""

import html
import re
from urllib.parse import parse_qs, urlsplit

import requests
from conftest import unique


class Person:
    """A new user of the administrator's tenant. Every request is noted."""

    def __init__(self, admin):
        self.admin = admin
        self.asked = []
        self.user_id = unique("person")
        self.user = admin.call("POST", "/users", {"user_id": self.user_id, "name": "Ada"})

    def answer(self, url, decision="allow"):
        """Where the browser is sent in the end: the client's own address."""
        where = urlsplit(url)
        self.asked.append(parse_qs(where.query))
        to = f"{where.path}?{where.query}"
        made = self.admin.call("POST", f"/users/{self.user['id']}/links", {"purpose": "authorize", "to": to})
        with requests.Session() as browser:
            browser.headers["Accept"] = "text/html"
            page = browser.get(made["url"], timeout=30)
            page.raise_for_status()
            fields = re.findall(r'name="(\w+)" value="([^"]*)"', page.text)
            form = {name: html.unescape(value) for name, value in fields} | {"decision": decision}
            action = self.admin.url + re.search(r'action="([^"]*)"', page.text)[1]
            answered = browser.post(action, data=form, allow_redirects=False, timeout=30)
        assert answered.status_code == 303, answered.text
        return answered.headers["Location"]
