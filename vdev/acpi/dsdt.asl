// SPDX-License-Identifier: Apache-2.0
//
// What the guest can't find by itself: the devices at fixed ports and what they interrupt with. The
// numbers are those of the devices' own headers; vdev/acpi/tables_test.cpp compares them.
DefinitionBlock ("dsdt.aml", "DSDT", 2, "CROFT", "CROFTVM", 1)
{
    // Written by vdev::AcpiTables when it places the table: the serial ports that the VM has, a bit
    // each.
    Name (SERP, 0xFFFFFFFF)

    // Soft off, as vdev::PowerLayout::soft_off_type.
    Name (\_S5, Package () { 5, 5, 0, 0 })

    Scope (\_SB)
    {
        // The fixed hardware: PM1, PM timer, reset register.
        Device (MBRD)
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_UID, 0)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0600, 0x0600, 0x01, 0x0C)
                IO (Decode16, 0x0CF9, 0x0CF9, 0x01, 0x01)
                IO (Decode16, 0x0061, 0x0061, 0x01, 0x01)
            })
        }

        Device (RTC0)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0070, 0x0070, 0x01, 0x02)
                IRQNoFlags () { 8 }
            })
        }

        Device (TIMR)
        {
            Name (_HID, EisaId ("PNP0100"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0040, 0x0040, 0x01, 0x04)
                IRQNoFlags () { 0 }
            })
        }

        // What lets the guest load its VMBus driver; the rest it finds by CPUID and messages.
        Device (VMBS)
        {
            Method (_HID, 0, NotSerialized) // no name as ACPI has them, so no constant
            {
                Return ("VMBUS")
            }
            Name (_UID, 0)
            Name (_DDN, "VMBUS")
            Name (_CRS, Buffer () { 0x79, 0x00 }) // nothing but the end tag
        }

        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 1)
            Method (_STA, 0, NotSerialized)
            {
                If (SERP & 1)
                {
                    Return (0x0F)
                }
                Return (0)
            }
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x03F8, 0x03F8, 0x01, 0x08)
                IRQNoFlags () { 4 }
            })
        }

        Device (COM2)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 2)
            Method (_STA, 0, NotSerialized)
            {
                If (SERP & 2)
                {
                    Return (0x0F)
                }
                Return (0)
            }
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x02F8, 0x02F8, 0x01, 0x08)
                IRQNoFlags () { 3 }
            })
        }
    }
}
