// SPDX-License-Identifier: Apache-2.0
// The functions that the compiler expects of every environment.
#include "hypervisor/debug/panic.hpp"

#include <cstddef>
#include <cstdint>

extern "C" {

void* memcpy(void* to, const void* from, std::size_t size);
void* memmove(void* to, const void* from, std::size_t size);
void* memset(void* to, int value, std::size_t size);
int memcmp(const void* a, const void* b, std::size_t size);
void* memchr(const void* memory, int value, std::size_t size);
std::size_t strlen(const char* text);
std::size_t strnlen(const char* text, std::size_t most);

void* memcpy(void* to, const void* from, std::size_t size) {
    void* const result = to;
    std::size_t words = size / 8;
    std::size_t bytes = size % 8;
    asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
    asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
    return result;
}

void* memmove(void* to, const void* from, std::size_t size) {
    auto* const d = static_cast<std::uint8_t*>(to);
    const auto* const s = static_cast<const std::uint8_t*>(from);
    if (d <= s || d >= s + size) {
        return memcpy(to, from, size);
    }
    for (std::size_t i = size; i > 0; --i) {
        d[i - 1] = s[i - 1];
    }
    return to;
}

void* memset(void* to, int value, std::size_t size) {
    void* const result = to;
    const std::uint64_t pattern = 0x0101010101010101ull * static_cast<std::uint8_t>(value);
    std::size_t words = size / 8;
    std::size_t bytes = size % 8;
    asm volatile("rep stosq" : "+D"(to), "+c"(words) : "a"(pattern) : "memory");
    asm volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(pattern) : "memory");
    return result;
}

int memcmp(const void* a, const void* b, std::size_t size) {
    const auto* const x = static_cast<const std::uint8_t*>(a);
    const auto* const y = static_cast<const std::uint8_t*>(b);
    for (std::size_t i = 0; i < size; ++i) {
        if (x[i] != y[i]) {
            return x[i] < y[i] ? -1 : 1;
        }
    }
    return 0;
}

void* memchr(const void* memory, int value, std::size_t size) {
    const auto* const bytes = static_cast<const std::uint8_t*>(memory);
    for (std::size_t i = 0; i < size; ++i) {
        if (bytes[i] == static_cast<std::uint8_t>(value)) {
            return const_cast<std::uint8_t*>(&bytes[i]);
        }
    }
    return nullptr;
}

std::size_t strlen(const char* text) {
    std::size_t length = 0;
    while (text[length] != '\0') {
        ++length;
    }
    return length;
}

std::size_t strnlen(const char* text, std::size_t most) {
    std::size_t length = 0;
    while (length < most && text[length] != '\0') {
        ++length;
    }
    return length;
}

} // extern "C"

// A class with a virtual function that was never given a body.
// NOLINTBEGIN(readability-identifier-naming, readability-redundant-declaration): given names
extern "C" void __cxa_pure_virtual();
extern "C" void __cxa_pure_virtual() {
    __builtin_trap();
}

// The library's range checks, which end in an exception elsewhere.
namespace std {
__attribute__((noreturn)) void __throw_out_of_range_fmt(const char* format, ...);
void __throw_out_of_range_fmt(const char* format, ...) {
    hypervisor::panic("{}", format);
}
} // namespace std
// NOLINTEND(readability-identifier-naming, readability-redundant-declaration)
