// autograd/TOUR.md prints what commands print: each indented block that begins with "$ tapescope"
// shows consecutive lines of that command's output, and so does each block after it until the next
// one.
#include <fstream>
#include <sstream>

#include "tests/cli/program.h"

namespace tapescope {
namespace {

struct Listing {
  std::string command, text;
};

std::vector<Listing> listings_of(const std::string& page) {
  std::ifstream file(page);
  std::vector<Listing> listings;
  std::string line, command;
  bool inside = false;
  while (std::getline(file, line)) {
    const bool indented = line.starts_with("    ");
    if (indented && line.starts_with("    $ tapescope ")) {
      command = line.substr(16);
      listings.push_back({command, ""});
    } else if (indented) {
      if (!inside) listings.push_back({command, ""});
      listings.back().text += line.substr(4) + "\n";
    }
    inside = indented;
  }
  std::erase_if(listings, [](const Listing& listing) { return listing.text.empty(); });
  return listings;
}

// Lines without the blanks at their ends.
std::string trimmed(const std::string& text) {
  std::string result;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    result += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    begin = end + 1;
  }
  return result;
}

TEST(Tour, ListingsAreWhatTheCommandsPrint) {
  const std::vector<Listing> listings =
      listings_of(std::string(TAPESCOPE_SOURCE_DIR) + "/autograd/TOUR.md");
  ASSERT_GE(listings.size(), 5u);
  for (const Listing& listing : listings) {
    std::istringstream words(listing.command);
    const std::vector<std::string> arguments{std::istream_iterator<std::string>(words), {}};
    const Result result = tapescope_program(arguments);
    ASSERT_EQ(result.status, 0) << listing.command << "\n" << result.err;
    EXPECT_NE(("\n" + trimmed(result.out)).find("\n" + listing.text), std::string::npos)
        << "tapescope " << listing.command << " no longer prints\n"
        << listing.text << "but\n"
        << result.out;
  }
}

}  // namespace
}  // namespace tapescope
