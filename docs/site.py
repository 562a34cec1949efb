"""Finishes the site that Doxygen has made in a folder: links to headings and to sources of the tree lead somewhere, the
drawings shrink with the page, and every link is followed once.   usage: site.py <root of the tree> <folder of the site>
"""

import html
import re
import shutil
import sys
from pathlib import Path

DRAWING = re.compile(r'<object type="image/svg\+xml" data="([^"]*)"[^>]*></object>')
LINK = re.compile(r'(?:href|src)="([^"]+)"')
HEADING = re.compile(r'<h[1-6][^>]*>(?:<a class="anchor" id="([^"]+)"></a>)?\s*(.*?)</h[1-6]>', re.S)
ELSEWHERE = ("http:", "https:", "mailto:", "javascript:")


def page_of(markdown):
    """The page that Doxygen makes of a Markdown file of the tree."""
    if markdown == "README.md":
        return "index.html"
    return "md_" + markdown.removesuffix(".md").replace("/", "_").replace("-", "_") + ".html"


def slug(heading):
    text = html.unescape(re.sub(r"<[^>]*>", "", heading)).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


class Site:
    def __init__(self, root, folder):
        self.root, self.folder = root, folder
        self.pages = {p.name: p.read_text(encoding="utf-8") for p in folder.glob("*.html")}
        self.sources = {page_of(str(p.relative_to(root))): p for p in
                        [*root.glob("*.md"), *root.glob("docs/*.md"), *root.glob("examples/*/*.md")]}
        self.complaints = []

    def heading(self, page, fragment):
        for anchor, text in HEADING.findall(self.pages[page]):
            if anchor and slug(text) == fragment:
                return anchor
        return None

    def resolved(self, page, link):
        """Where a relative link of a Markdown file leads on the site; the link itself when it needs no change."""
        file, _, fragment = link.partition("#")
        source = self.sources.get(page)
        if source is None or not file or (self.folder / file).exists():
            return link
        target = (source.parent / file).resolve()
        if not target.is_file() or not target.is_relative_to(self.root):
            return link
        name = str(target.relative_to(self.root))
        if name.endswith(".md") and page_of(name) in self.pages:
            anchor = self.heading(page_of(name), fragment) if fragment else ""
            return link if anchor is None else page_of(name) + ("#" + anchor if anchor else "")
        copy = name.replace("/", "_") + ".txt"  # browsers show it, where they would save a .cpp
        shutil.copyfile(target, self.folder / copy)
        return copy

    def check(self, page, link):
        file, _, fragment = link.partition("#")
        file = file or page
        if not (self.folder / file).exists():
            self.complaints.append(f"{page}: there is no {link}")
        elif fragment and file in self.pages and not re.search(rf'(?:id|name)="{re.escape(fragment)}"', self.pages[file]):
            self.complaints.append(f"{page}: there is nothing called {fragment} on {file}")

    def finish(self):
        for name, text in self.pages.items():
            text = DRAWING.sub(r'<img src="\1" alt="">', text)
            links = {link: self.resolved(name, html.unescape(link)) for link in set(LINK.findall(text))
                     if not link.startswith(ELSEWHERE)}
            for old, new in links.items():
                if new != html.unescape(old):
                    text = text.replace(f'"{old}"', f'"{html.escape(new)}"')
            (self.folder / name).write_text(text, encoding="utf-8")
            self.pages[name] = text
            for link in links.values():
                if link != "#":
                    self.check(name, link)
        for complaint in sorted(set(self.complaints)):
            print(complaint, file=sys.stderr)
        return 1 if self.complaints else 0


if __name__ == "__main__":
    sys.exit(Site(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()).finish())
