// Tar files byte by byte, by POSIX's table of the header and not by the program's own writer.
#pragma once

#include <fmt/format.h>

#include <string>

namespace tapescope {

// One entry: its header, and the content up to a whole block. `type`: '0' a file, '5' a folder, '2'
// a link, 'L' GNU's long name, 'x' pax records.
inline std::string tar_entry(const std::string& name, const std::string& content, char type = '0') {
  std::string header(512, '\0');
  const auto put = [&](std::size_t at, const std::string& text) {
    header.replace(at, text.size(), text);
  };
  put(0, name.substr(0, 100));
  put(100, "0000600");
  put(108, "0001750");
  put(116, "0001750");
  put(124, fmt::format("{:011o}", content.size()));
  put(136, "14000000000");
  put(148, "        ");
  header[156] = type;
  put(257, type == 'L' ? std::string("ustar  ") : std::string("ustar") + '\0' + "00");
  int sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  put(148, fmt::format("{:06o}", sum) + '\0');
  std::string padded = content;
  padded.resize((content.size() + 511) / 512 * 512, '\0');
  return header + padded;
}

// The name is too long for the header: GNU's entry before it, or pax's.
inline std::string gnu_entry(const std::string& name, const std::string& content) {
  return tar_entry("././@LongLink", name + '\0', 'L') + tar_entry(name, content);
}
inline std::string pax_entry(const std::string& name, const std::string& content) {
  const std::string record = " path=" + name + "\n";
  std::size_t length = record.size() + 1;
  while (fmt::format("{}", length).size() + record.size() != length) ++length;
  return tar_entry("PaxHeaders/x", fmt::format("{}{}", length, record), 'x') +
         tar_entry(name, content);
}

inline std::string tar_end() { return std::string(1024, '\0'); }

}  // namespace tapescope
