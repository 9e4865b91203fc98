// A report in a headless Chromium: what it says of the page, and what a script finds there.
#pragma once

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "tests/cli/program.h"

namespace tapescope {

inline bool has_browser() { return std::system("command -v chromium >/dev/null 2>&1") == 0; }

// Runs `script`, which fills in `found`, at the page's end. With it come "troubles" (errors,
// warnings, what the content security policy refused), "requests", "sections", "charts",
// "withoutAlt", "overflow", pixels by which the page is wider than a narrow window, and
// "clippedAt1280" and "clippedAt390", what does not fit a page of that width with all of it
// unfolded.
inline nlohmann::json in_browser(const std::filesystem::path& page, const std::string& script) {
  static constexpr const char* kWatch = R"(<script>
window.troubles = [];
addEventListener('error', e => troubles.push(String(e.message)));
addEventListener('securitypolicyviolation', e => troubles.push('blocked ' + e.blockedURI));
for (const level of ['error', 'warn']) console[level] = (...a) => troubles.push(level + ' ' + a.join(' '));
</script>)";
  static constexpr const char* kReport = R"(
} catch (e) { troubles.push(String(e)); }
found.sections = [...document.querySelectorAll('section')].map(s => s.id);
found.charts = Chart.instances ? Object.keys(Chart.instances).length : 0;
found.requests = performance.getEntriesByType('resource').filter(r => !r.name.startsWith('data:')).map(r => r.name);
found.withoutAlt = [...document.images].filter(i => !i.alt).length;
for (const details of document.querySelectorAll('details')) details.open = true;
for (const width of [1280, 390]) {
  document.body.style.width = width + 'px';
  fitTables();
  found['clippedAt' + width] = [...document.querySelectorAll('body *')].filter(e => e.clientWidth && !e.closest('svg, canvas') &&
    (e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== 'visible' || e.getBoundingClientRect().right > width + 1))
    .map(e => `${e.tagName}.${e.className} ${(e.textContent || '').slice(0, 40)}`);
}
document.body.style.width = '';
fitTables();
found.overflow = document.documentElement.scrollWidth - innerWidth;
found.troubles = troubles;
document.body.append(Object.assign(document.createElement('pre'), {id: 'found', textContent: '@@' + JSON.stringify(found) + '@@'}));
</script>)";
  std::string text = text_of(page);
  const std::size_t head = text.find("<head>");
  if (head == std::string::npos) return {};
  text.insert(head + 6, kWatch);
  text.insert(text.rfind("</body>"), "<script>const found = {};\ntry {\n" + script + kReport);
  const TemporaryFolder folder;
  put(folder / "tried.html", {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  const std::string command = fmt::format(
      "timeout 120 chromium --headless --no-sandbox --disable-gpu --user-data-dir={} "
      "--window-size=500,900 --virtual-time-budget=5000 --dump-dom file://{} >{} 2>/dev/null",
      (folder / "profile").string(), (folder / "tried.html").string(),
      (folder / "dom.html").string());
  EXPECT_EQ(std::system(command.c_str()), 0);
  const std::string result = text_of(folder / "dom.html");
  const std::size_t begin = result.rfind("@@{"), end = result.rfind("}@@");
  EXPECT_TRUE(begin != std::string::npos && end != std::string::npos) << result.substr(0, 500);
  if (begin == std::string::npos || end == std::string::npos) return {};
  const auto found =
      nlohmann::json::parse(result.substr(begin + 2, end - begin - 1), nullptr, false);
  EXPECT_TRUE(found.is_object()) << result.substr(begin, 500);
  return found;
}

}  // namespace tapescope
