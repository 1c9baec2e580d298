# SPDX-License-Identifier: Apache-2.0
"""What stock guests have sent by VMBus, made into inputs that fuzz targets begin with."""
