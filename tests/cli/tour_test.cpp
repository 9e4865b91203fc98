// autograd/TOUR.md and kernels/LADDER.md print what commands print: each indented block that begins
// with
// "$ tapescope" or "$ build/cpu/ladder" shows consecutive lines of that command's output, and so
// does each block after it until the next one.
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
    if (indented && line.starts_with("    $ ")) {
      command = line.substr(6);
      listings.push_back({command, ""});
    } else if (indented) {
      if (!inside && !command.empty()) listings.push_back({command, ""});
      if (command.empty()) continue;  // what is typed, before the first listing
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

// What a program of the build prints: `tapescope`, or another one by its path from the tree's root.
std::string printed(const std::string& command) {
  if (command.starts_with("tapescope ")) {
    std::istringstream words(command.substr(10));
    const Result result = tapescope_program({std::istream_iterator<std::string>(words), {}});
    EXPECT_EQ(result.status, 0) << command << "\n" << result.err;
    return result.out;
  }
  const std::string path =
      std::string(TAPESCOPE_BINARIES) + command.substr(std::string("build/cpu").size());
  FILE* pipe = ::popen((path + " 2>&1").c_str(), "r");
  std::string text;
  for (int c; (c = std::fgetc(pipe)) != EOF;) text += static_cast<char>(c);
  EXPECT_EQ(::pclose(pipe), 0) << command << "\n" << text;
  return text;
}

void expect_printed(const std::string& page, std::size_t at_least) {
  const std::vector<Listing> listings = listings_of(std::string(TAPESCOPE_SOURCE_DIR) + page);
  ASSERT_GE(listings.size(), at_least);
  for (const Listing& listing : listings) {
    const std::string text = trimmed(printed(listing.command));
    EXPECT_NE(("\n" + text).find("\n" + listing.text), std::string::npos)
        << listing.command << " no longer prints\n"
        << listing.text << "but\n"
        << text;
  }
}

TEST(Tour, ListingsAreWhatTheCommandsPrint) { expect_printed("/autograd/TOUR.md", 5); }

// The README's picture is what its command draws.
TEST(Tour, ThePictureIsWhatTheCommandDraws) {
  const std::string source = TAPESCOPE_SOURCE_DIR;
  TemporaryFolder folder;
  const std::string readme = text_of(source + "/README.md"), last = "--graph tape.svg";
  const std::size_t end = readme.find(last), begin = readme.rfind("tapescope inspect tape ", end);
  ASSERT_NE(end, std::string::npos);
  const std::string drawn = (folder / "tape.svg").string();
  printed(readme.substr(begin, end - begin) + "--graph " + drawn);
  EXPECT_EQ(text_of(drawn), text_of(source + "/autograd/tape.svg"));
}

#if defined(TAPESCOPE_LADDER)
TEST(Ladder, ListingsAreWhatTheCommandsPrint) { expect_printed("/kernels/LADDER.md", 8); }

// Each rung of a chapter's table has its sentence below it.
TEST(Ladder, EveryRungHasItsSentence) {
  std::ifstream file(std::string(TAPESCOPE_SOURCE_DIR) + "/kernels/LADDER.md");
  std::vector<std::string> rungs;
  std::string chapter, line;
  int chapters = 0;
  const auto check = [&] {
    for (const std::string& rung : rungs) {
      EXPECT_NE(chapter.find("`" + rung + "`"), std::string::npos)
          << rung << " in" << chapter.substr(0, 60);
    }
    if (!chapter.empty()) {
      EXPECT_NE(chapter.find("*Why not further*"), std::string::npos) << chapter.substr(0, 60);
      EXPECT_NE(chapter.find("**Try**"), std::string::npos) << chapter.substr(0, 60);
    }
    rungs.clear();
    chapter.clear();
  };
  for (bool table = false; std::getline(file, line);) {
    if (line.starts_with("## ")) {
      check();
      ++chapters;
    }
    if (chapters > 0) chapter += line + "\n";
    if (!line.starts_with("    ") || line.size() < 5) {
      table = false;
    } else if (table) {
      rungs.push_back(line.substr(4, line.find(' ', 4) - 4));
    } else {
      table = line.starts_with("    rung ");
    }
  }
  check();
  EXPECT_EQ(chapters, 8);
}
#endif

}  // namespace
}  // namespace tapescope
