#pragma once

#include <string>

/// Numbers in readable form; `number` of casdm/text.h writes one so that it reads back unchanged.
namespace casdm {

/// "45s", "12m03s", "3h07m".
std::string duration(double seconds);

/// With this many significant digits: 0.0213, 1.25e-05.
std::string significant(double value, int digits = 3);

/// With three digits, or all of those before the point: 0.0213, 37.6, 1234.
std::string three_digits(double value);

/// A large count: 950, 12.3k, 4.56M.
std::string short_count(double value);

/// A limit in its most readable form: 1 as "1", 0.5 as "0.5".
std::string limit(double value);

/// "700 MiB", "3.2 GiB", "16 GiB".
std::string size_text(double bytes);

}  // namespace casdm
