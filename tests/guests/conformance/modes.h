/* SPDX-License-Identifier: Apache-2.0 */
/* What the program of modes and its code, which is copied below 1 MiB, know of each other. */
#pragma once

/* Where that code goes, and its parts from there. */
#define MODES_BASE 0x10000
#define MODES_TABLES 0x4000 /* of pages; MODES_TABLE_COUNT of them */
#define MODES_STACK_TOP 0xf000

/* The tables, in this order. */
#define MODES_TWO_LEVEL 0
#define MODES_TWO_LEVEL_LOW 1 /* the first 4 MiB in pages of 4 KiB */
#define MODES_PAE 2
#define MODES_PAE_DIRECTORIES 3 /* four of them */
#define MODES_PAE_LOW 7         /* the first 2 MiB in pages of 4 KiB */
#define MODES_TABLE_COUNT 8

/* Where the first MiBs are seen once more, in large pages and in small ones. */
#define MODES_LARGE_AT 0x40000000
#define MODES_SMALL_AT 0x80000000

/* Modes. */
#define MODE_LONG 0
#define MODE_COMPATIBILITY 1
#define MODE_PAE_LARGE 2
#define MODE_PAE_SMALL 3
#define MODE_TWO_LEVEL_LARGE 4
#define MODE_TWO_LEVEL_SMALL 5
#define MODE_PROTECTED_32 6
#define MODE_PROTECTED_16 7
#define MODE_REAL 8
#define MODE_COUNT 9

/* What is found out in each of them: see struct findings. */
#define FOUND_CPUID 0
#define FOUND_PREFIXED 16
#define FOUND_PAT 20
#define FOUND_NEW_PAT 28
#define FOUND_PORT 36
#define FOUND_STRING 40
#define FOUND_COUNT 44
#define FOUND_SOURCE 48
#define FOUND_APIC_VERSION 52
#define FOUND_TPR 56
#define FOUND_IOAPIC 60
#define FOUND_CR0 64
#define FOUND_CR4 68
#define FOUND_ADDRESS 72
#define FOUND_SIZE 76

#define NEW_PAT_LOW 0x00070106
#define NEW_PAT_HIGH 0x00070406
#define PORT_SCRATCH 0x3ff /* a register of the first serial port that keeps what is written */
#define PORT_VALUE 0x5a
#define TPR_VALUE 0x20
