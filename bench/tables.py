# SPDX-License-Identifier: Apache-2.0
"""What a bench has found, ours beside the peer's: rows, the table that people read, and the file
that programs do. Rows and table are of values where less is better."""

import json


def row(name, unit, ours, peer):
    """Either value may be None: one that has not been measured."""
    return {"name": name, "unit": unit, "undercroft": ours, "peer": peer,
            "ratio": round(ours / peer, 2) if ours and peer else None}


def table(rows):
    width = max(len(one["name"]) for one in rows)
    lines = [f"{'':{width}} {'ours':>10} {'kvm':>10} {'ratio':>6}"]
    for one in rows:
        values = " ".join(f"{'-' if one[key] is None else one[key]:>{room}}" for key, room in
                          (("undercroft", 10), ("peer", 10), ("ratio", 6)))
        lines.append(f"{one['name']:{width}} {values}  {one['unit']}")
    return "\n".join(lines)


def write(rows, output):
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(rows, indent=2) + "\n")
