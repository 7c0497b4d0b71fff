#pragma once

#include <ostream>
#include <streambuf>
#include <string>
#include <string_view>

namespace casdm {

/// While it lives, what is written to `stream` is escaped as `printable` of casdm/text.h does: text that came
/// from a file cannot steer the terminal, whoever prints it.
class PrintableStream final : private std::streambuf {
 public:
  explicit PrintableStream(std::ostream& stream);
  ~PrintableStream() override;
  PrintableStream(const PrintableStream&) = delete;
  PrintableStream& operator=(const PrintableStream&) = delete;

 private:
  int_type overflow(int_type c) override;
  std::streamsize xsputn(const char* data, std::streamsize size) override;
  int sync() override;
  bool write(std::string_view text);

  std::ostream& stream_;
  std::streambuf* target_;
  std::string cut_;  ///< a character of UTF-8 that has begun
};

}  // namespace casdm
