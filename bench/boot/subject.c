// SPDX-License-Identifier: Apache-2.0
//
// What the guest compiles: a calculator, which reads expressions with names, and a table of what
// the names stand for. It includes nothing, and nobody runs it.

enum { NAMES = 512, DEPTH = 64 };

enum kind { END, NUMBER, NAME, OPERATOR, WRONG };

struct token {
    enum kind kind;
    char sign;
    const char* start;
    unsigned length;
    double value;
};

struct entry {
    const char* name;
    unsigned length;
    unsigned hash;
    double value;
};

struct calculator {
    const char* text;
    struct token token;
    unsigned depth;
    unsigned count;
    const char* fault;
    struct entry entries[NAMES];
};

static int is_digit(char c) {
    return c >= '0' && c <= '9';
}

static int is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static double number(const char** text) {
    const char* at = *text;
    double value = 0;
    double place = 1;
    while (is_digit(*at)) {
        value = value * 10 + (*at++ - '0');
    }
    if (*at == '.') {
        at++;
        while (is_digit(*at)) {
            place /= 10;
            value += (*at++ - '0') * place;
        }
    }
    if (*at == 'e' || *at == 'E') {
        int negative = at[1] == '-';
        int exponent = 0;
        at += negative || at[1] == '+' ? 2 : 1;
        while (is_digit(*at) && exponent < 400) {
            exponent = exponent * 10 + (*at++ - '0');
        }
        while (exponent-- > 0) {
            value = negative ? value / 10 : value * 10;
        }
    }
    *text = at;
    return value;
}

static void advance(struct calculator* all) {
    struct token* token = &all->token;
    while (*all->text == ' ' || *all->text == '\t' || *all->text == '\n') {
        all->text++;
    }
    token->start = all->text;
    switch (*all->text) {
    case '\0':
        token->kind = END;
        break;
    case '+':
    case '-':
    case '*':
    case '/':
    case '%':
    case '^':
    case '=':
    case '(':
    case ')':
    case ',':
        token->kind = OPERATOR;
        token->sign = *all->text++;
        break;
    default:
        if (is_digit(*all->text)) {
            token->kind = NUMBER;
            token->value = number(&all->text);
        } else if (is_letter(*all->text)) {
            token->kind = NAME;
            while (is_letter(*all->text) || is_digit(*all->text)) {
                all->text++;
            }
        } else {
            token->kind = WRONG;
            all->fault = "a character that has no meaning";
        }
    }
    token->length = (unsigned)(all->text - token->start);
}

static int takes(struct calculator* all, char sign) {
    if (all->token.kind != OPERATOR || all->token.sign != sign) {
        return 0;
    }
    advance(all);
    return 1;
}

static unsigned hash_of(const char* name, unsigned length) {
    unsigned hash = 2166136261U;
    for (unsigned i = 0; i < length; i++) {
        hash = (hash ^ (unsigned char)name[i]) * 16777619U;
    }
    return hash;
}

static int same(const struct entry* entry, const char* name, unsigned length, unsigned hash) {
    if (entry->hash != hash || entry->length != length) {
        return 0;
    }
    for (unsigned i = 0; i < length; i++) {
        if (entry->name[i] != name[i]) {
            return 0;
        }
    }
    return 1;
}

static struct entry* find(struct calculator* all, const char* name, unsigned length) {
    unsigned hash = hash_of(name, length);
    unsigned place = hash % NAMES;
    for (unsigned tries = 0; tries < NAMES; tries++) {
        struct entry* entry = &all->entries[place];
        if (!entry->name) {
            if (all->count + 1 >= NAMES) {
                all->fault = "too many names";
                return 0;
            }
            *entry = (struct entry){name, length, hash, 0};
            all->count++;
            return entry;
        }
        if (same(entry, name, length, hash)) {
            return entry;
        }
        place = (place + 1) % NAMES;
    }
    return 0;
}

static double sum(struct calculator* all);

static double root(double value) {
    double guess = value > 1 ? value : 1;
    for (int i = 0; i < 60; i++) {
        guess = (guess + value / guess) / 2;
    }
    return guess;
}

static double power(double base, double exponent) {
    double result = 1;
    long times = (long)(exponent < 0 ? -exponent : exponent);
    for (; times > 0; times >>= 1, base *= base) {
        if (times & 1) {
            result *= base;
        }
    }
    return exponent < 0 ? 1 / result : result;
}

static double call(struct calculator* all, struct token name) {
    double values[4] = {0};
    unsigned count = 0;
    do {
        double value = sum(all);
        if (count < 4) {
            values[count] = value;
        }
        count++;
    } while (takes(all, ','));
    if (!takes(all, ')')) {
        all->fault = "a bracket is not closed";
    }
    switch (hash_of(name.start, name.length) % 5) {
    case 0:
        return root(values[0]);
    case 1:
        return values[0] > values[1] ? values[0] : values[1];
    case 2:
        return values[0] < values[1] ? values[0] : values[1];
    case 3:
        return values[0] < 0 ? -values[0] : values[0];
    default:
        return (values[0] + values[1] + values[2] + values[3]) / (count < 4 ? count : 4);
    }
}

static double named(struct calculator* all) {
    struct token name = all->token;
    advance(all);
    if (takes(all, '(')) {
        return call(all, name);
    }
    struct entry* entry = find(all, name.start, name.length);
    if (!entry) {
        return 0;
    }
    if (takes(all, '=')) {
        double value = sum(all);
        entry->value = value;
    }
    return entry->value;
}

static double operand(struct calculator* all) {
    double value = 0;
    if (++all->depth > DEPTH) {
        all->fault = "too deep";
    } else if (takes(all, '-')) {
        value = -operand(all);
    } else if (takes(all, '(')) {
        value = sum(all);
        if (!takes(all, ')')) {
            all->fault = "a bracket is not closed";
        }
    } else if (all->token.kind == NUMBER) {
        value = all->token.value;
        advance(all);
    } else if (all->token.kind == NAME) {
        value = named(all);
    } else {
        all->fault = "no number where one is expected";
    }
    all->depth--;
    return value;
}

static double factor(struct calculator* all) {
    double value = operand(all);
    return takes(all, '^') ? power(value, factor(all)) : value;
}

static double product(struct calculator* all) {
    double value = factor(all);
    for (;;) {
        if (takes(all, '*')) {
            value *= factor(all);
        } else if (takes(all, '/')) {
            value /= factor(all);
        } else if (takes(all, '%')) {
            double other = factor(all);
            value -= (double)(long)(value / other) * other;
        } else {
            return value;
        }
    }
}

static double sum(struct calculator* all) {
    double value = product(all);
    for (;;) {
        if (takes(all, '+')) {
            value += product(all);
        } else if (takes(all, '-')) {
            value -= product(all);
        } else {
            return value;
        }
    }
}

double calculate(struct calculator* all, const char* text) {
    all->text = text;
    all->fault = 0;
    all->depth = 0;
    advance(all);
    double value = sum(all);
    if (!all->fault && all->token.kind != END) {
        all->fault = "words after the end";
    }
    return value;
}

static void swap(struct entry* one, struct entry* other) {
    struct entry kept = *one;
    *one = *other;
    *other = kept;
}

static void sort(struct entry* entries, long first, long last) {
    while (first < last) {
        double middle = entries[(first + last) / 2].value;
        long low = first;
        long high = last;
        while (low <= high) {
            while (entries[low].value < middle) {
                low++;
            }
            while (entries[high].value > middle) {
                high--;
            }
            if (low <= high) {
                swap(&entries[low++], &entries[high--]);
            }
        }
        sort(entries, first, high);
        first = low;
    }
}

unsigned collect(const struct calculator* all, struct entry* into) {
    unsigned count = 0;
    for (unsigned place = 0; place < NAMES; place++) {
        if (all->entries[place].name) {
            into[count++] = all->entries[place];
        }
    }
    sort(into, 0, (long)count - 1);
    return count;
}
