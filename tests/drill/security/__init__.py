"""Security: hostile files, hostile names and links, secrets, and servers that lie."""

from drill.part import Part
from drill.security.hostile import run_hostile
from drill.security.network import run_network
from drill.security.output import run_output
from drill.security.secrets import run_secrets

PARTS: tuple[Part, ...] = (
    Part(
        "security: hostile files",
        "A file that would run code, leave its folder or fill the memory is refused in one line.",
        200,
        25,
        run_hostile,
    ),
    Part(
        "security: output",
        "A hostile name, or a link in the output folder, reaches no table, page or other file.",
        24,
        2,
        run_output,
    ),
    Part(
        "security: secrets",
        "A command with secrets in its environment and arguments prints and writes none of them.",
        12,
        4,
        run_secrets,
    ),
    Part(
        "security: network",
        "A download over broken TLS, or redirected to http or a file, yields nothing.",
        5,
        5,
        run_network,
    ),
)
