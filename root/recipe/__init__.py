# SPDX-License-Identifier: Apache-2.0
"""How the root partition's kernel and file system, and a child's, are made and cached."""
