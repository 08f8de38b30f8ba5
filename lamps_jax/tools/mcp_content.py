"""What an MCP tool answers, as the text that a model reads."""

import json

from mcp.types import (
    AudioContent,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)


def text_of(result: CallToolResult) -> str:
    """The blocks of a result, one below the other; what is no text is named instead."""
    if not result.content and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return "\n".join(_text_of_block(block) for block in result.content)


def _text_of_block(block: ContentBlock) -> str:
    match block:
        case TextContent():
            return block.text
        case ImageContent():
            return f"[an image, {block.mime_type}, which cannot be shown]"
        case AudioContent():
            return f"[a sound, {block.mime_type}, which cannot be played]"
        case ResourceLink():
            return f"[a resource: {block.title or block.name}, {block.uri}]"
        case EmbeddedResource(resource=TextResourceContents(text=text)):
            return text
        case EmbeddedResource():
            return f"[a file: {block.resource.uri}, {block.resource.mime_type or 'of unknown type'}]"
