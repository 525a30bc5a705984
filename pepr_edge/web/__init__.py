"""The page of a web kit: ES modules, a style sheet, and the frame that `kit.web_page` puts them into."""

__all__: list[str] = []
