-- Every table of the mart as one would write it by hand for DuckDB, from the descriptions of its columns. rebuild.py
-- holds our own rebuild against it, in seconds and cell by cell, and refresh.py a night. One INSERT a table, columns by
-- their names: one that is forgotten is null, which no column of the mart may be.

-- Works of a field, counted or excluded.
INSERT INTO by_hand.world_year BY NAME
SELECT w.corpus, p.policy, f.field, w.year,
    count(*) FILTER (w.is_counted) AS papers,
    count(*) FILTER (w.is_counted AND p.territories >= 2) AS papers_international,
    count(*) FILTER (w.is_counted AND p.territories = 1 AND p.unknown_share = 0) AS papers_domestic,
    count(*) FILTER (w.is_counted AND p.territories <= 1 AND p.unknown_share > 0) AS papers_undetermined,
    count(*) FILTER (w.is_counted AND p.unknown_share > 0) AS papers_with_unknown,
    count(*) FILTER (w.is_counted AND p.territories = 0) AS papers_without_country,
    coalesce(sum(p.unknown_share) FILTER (w.is_counted), 0) AS fractional_unknown,
    coalesce(sum(p.territories * (p.territories - 1) // 2) FILTER (w.is_counted), 0) AS links,
    coalesce(sum(w.cited_by_count) FILTER (w.is_counted), 0) AS citations,
    coalesce(sum(w.references_count) FILTER (w.is_counted), 0) AS references_listed,
    count(*) FILTER (w.excluded_reason = 'retracted') AS excluded_retracted,
    count(*) FILTER (w.excluded_reason = 'type') AS excluded_type,
    count(*) FILTER (w.excluded_reason = 'duplicate_doi') AS excluded_duplicate_doi
FROM core.work w
JOIN core.work_policy p ON p.work_id = w.work_id
JOIN core.work_field f ON f.work_id = w.work_id
GROUP BY ALL;

-- Works of a territory, ZZ included.
INSERT INTO by_hand.country_year BY NAME
SELECT w.corpus, p.policy, f.field, w.year, a.territory,
    count(*) AS papers,
    sum(a.share) AS fractional,
    count(*) FILTER (p.territories >= 2) AS papers_international,
    count(*) FILTER (a.territory <> 'ZZ' AND p.territories = 1 AND p.unknown_share = 0) AS papers_domestic,
    count(*) FILTER (p.territories <= 1 AND p.unknown_share > 0) AS papers_undetermined,
    coalesce(sum(p.territories - 1) FILTER (a.territory <> 'ZZ'), 0) AS links,
    sum(w.cited_by_count) AS citations,
    count(*) FILTER (a.is_first) AS papers_first,
    count(*) FILTER (a.is_first AND p.territories >= 2) AS papers_first_international,
    count(*) FILTER (a.is_corresponding) AS papers_corresponding
FROM core.work w
JOIN core.work_policy p ON p.work_id = w.work_id
JOIN core.work_field f ON f.work_id = w.work_id
JOIN core.work_territory a ON a.work_id = w.work_id AND a.policy = p.policy
WHERE w.is_counted
GROUP BY ALL;

-- Works of two known territories, a before b.
INSERT INTO by_hand.pair_year BY NAME
SELECT w.corpus, p.policy, f.field, w.year, a.territory AS territory_a, b.territory AS territory_b,
    count(*) AS papers,
    count(*) FILTER (p.unknown_share > 0) AS papers_with_unknown,
    count(*) FILTER (p.territories = 2) AS papers_bilateral,
    count(*) FILTER (p.territories > 2) AS papers_multilateral,
    count(*) FILTER (a.only_author = b.only_author) AS papers_dual_only,
    sum(a.share + b.share) AS score,
    sum(w.cited_by_count) AS citations,
    count(*) FILTER (a.is_first) AS papers_first_a,
    count(*) FILTER (b.is_first) AS papers_first_b
FROM core.work w
JOIN core.work_policy p ON p.work_id = w.work_id
JOIN core.work_field f ON f.work_id = w.work_id
JOIN core.work_territory a ON a.work_id = w.work_id AND a.policy = p.policy
JOIN core.work_territory b ON b.work_id = w.work_id AND b.policy = p.policy AND a.territory < b.territory
WHERE w.is_counted AND p.territories >= 2 AND a.territory <> 'ZZ' AND b.territory <> 'ZZ'
GROUP BY ALL;

-- What the countries of works rest on: whatever it is ("all"), and by source. Policies do not differ in it.
INSERT INTO by_hand.coverage_year BY NAME
WITH counted AS (
    SELECT w.work_id, w.corpus, f.field, w.year, w.authors_count, w.authors_located,
        p.unknown_share = 0 AS is_all_located,
        p.unknown_share > 0 AND p.territories > 0 AS is_some_located,
        p.territories = 0 AS is_none_located
    FROM core.work w
    JOIN core.work_policy p ON p.work_id = w.work_id AND p.policy = 'iso'
    JOIN core.work_field f ON f.work_id = w.work_id
    WHERE w.is_counted
),
conflict AS (
    SELECT work_id, sum(conflicts) AS conflicts
    FROM core.work_evidence
    GROUP BY work_id
)
SELECT c.corpus, c.field, c.year, 'all' AS evidence,
    count(*) AS papers,
    count(*) FILTER (c.is_all_located) AS papers_all_located,
    count(*) FILTER (c.is_some_located) AS papers_some_located,
    count(*) FILTER (c.is_none_located) AS papers_none_located,
    sum(c.authors_count) AS authors,
    sum(c.authors_located) AS authors_located,
    coalesce(sum(k.conflicts), 0) AS conflicts
FROM counted c
LEFT JOIN conflict k ON k.work_id = c.work_id
GROUP BY ALL
UNION ALL BY NAME
SELECT c.corpus, c.field, c.year, e.country_source AS evidence,
    count(*) AS papers,
    count(*) FILTER (c.is_all_located) AS papers_all_located,
    count(*) FILTER (c.is_some_located) AS papers_some_located,
    count(*) FILTER (c.is_none_located) AS papers_none_located,
    sum(e.authors) AS authors,
    coalesce(sum(e.authors) FILTER (e.country_source <> 'none'), 0) AS authors_located,
    sum(e.conflicts) AS conflicts
FROM counted c
JOIN core.work_evidence e ON e.work_id = c.work_id
GROUP BY ALL;

-- Works of a bloc: each once, however many of its territories are members in its year.
INSERT INTO by_hand.bloc_year BY NAME
WITH held AS (
    SELECT a.work_id, a.policy, m.bloc,
        count(*) AS members,
        sum(a.share) AS share
    FROM core.work w
    JOIN core.work_territory a ON a.work_id = w.work_id
    JOIN core.bloc_member m ON m.territory = a.territory AND w.year BETWEEN m.first_year AND m.last_year
    WHERE w.is_counted
    GROUP BY ALL
)
SELECT w.corpus, p.policy, f.field, w.year, h.bloc,
    count(*) AS papers,
    sum(h.share) AS fractional,
    count(*) FILTER (h.members >= 2) AS papers_internal,
    count(*) FILTER (p.territories > h.members) AS papers_external,
    count(*) FILTER (p.unknown_share > 0) AS papers_with_unknown,
    sum(w.cited_by_count) AS citations
FROM held h
JOIN core.work w ON w.work_id = h.work_id
JOIN core.work_policy p ON p.work_id = h.work_id AND p.policy = h.policy
JOIN core.work_field f ON f.work_id = h.work_id
GROUP BY ALL;

-- Works of two blocs of one scheme, a before b: a member of one and another territory that is a member of the other.
INSERT INTO by_hand.bloc_pair_year BY NAME
WITH member AS (
    SELECT a.work_id, a.policy, m.scheme, m.bloc, a.territory
    FROM core.work w
    JOIN core.work_policy p ON p.work_id = w.work_id
    JOIN core.work_territory a ON a.work_id = w.work_id AND a.policy = p.policy
    JOIN core.bloc_member m ON m.territory = a.territory AND w.year BETWEEN m.first_year AND m.last_year
    WHERE w.is_counted AND p.territories >= 2
),
held AS (
    SELECT work_id, policy, scheme, bloc, count(*) AS members
    FROM member
    GROUP BY ALL
),
overlap AS (
    SELECT a.work_id, a.policy, a.bloc AS bloc_a, b.bloc AS bloc_b, count(*) AS members
    FROM member a
    JOIN member b USING (work_id, policy, scheme, territory)
    WHERE a.bloc < b.bloc
    GROUP BY ALL
),
pair AS (
    SELECT a.work_id, a.policy, a.bloc AS bloc_a, b.bloc AS bloc_b,
        a.members AS members_a,
        b.members AS members_b,
        coalesce(o.members, 0) AS members_of_both
    FROM held a
    JOIN held b ON b.work_id = a.work_id AND b.policy = a.policy AND b.scheme = a.scheme AND a.bloc < b.bloc
    LEFT JOIN overlap o ON o.work_id = a.work_id AND o.policy = a.policy AND o.bloc_a = a.bloc AND o.bloc_b = b.bloc
)
SELECT w.corpus, p.policy, f.field, w.year, p.bloc_a, p.bloc_b,
    count(*) AS papers,
    count(*) FILTER (p.members_a > p.members_of_both AND p.members_b > p.members_of_both) AS papers_exclusive,
    sum(w.cited_by_count) AS citations
FROM pair p
JOIN core.work w ON w.work_id = p.work_id
JOIN core.work_field f ON f.work_id = p.work_id
WHERE NOT (p.members_a = 1 AND p.members_b = 1 AND p.members_of_both = 1)
GROUP BY ALL;

-- Works of a territory, ZZ included, by the sectors of its institutions.
INSERT INTO by_hand.sector_year BY NAME
WITH sector (bit, sector) AS (
    VALUES (1, 'education'), (2, 'company'), (4, 'government'), (8, 'facility'), (16, 'healthcare'),
        (32, 'nonprofit'), (64, 'archive'), (128, 'funder'), (256, 'other'), (512, 'unknown')
)
SELECT w.corpus, p.policy, f.field, w.year, a.territory, s.sector,
    count(*) AS papers,
    count(*) FILTER (p.territories >= 2) AS papers_international,
    sum(w.cited_by_count) AS citations
FROM core.work w
JOIN core.work_policy p ON p.work_id = w.work_id
JOIN core.work_field f ON f.work_id = w.work_id
JOIN core.work_territory a ON a.work_id = w.work_id AND a.policy = p.policy
JOIN sector s ON a.sectors & s.bit <> 0
WHERE w.is_counted
GROUP BY ALL;

-- Works of two known territories, a before b, by the sectors of both.
INSERT INTO by_hand.sector_pair_year BY NAME
WITH sector (bit, sector) AS (
    VALUES (1, 'education'), (2, 'company'), (4, 'government'), (8, 'facility'), (16, 'healthcare'),
        (32, 'nonprofit'), (64, 'archive'), (128, 'funder'), (256, 'other'), (512, 'unknown')
)
SELECT w.corpus, p.policy, f.field, w.year, a.territory AS territory_a, b.territory AS territory_b,
    s.sector AS sector_a, r.sector AS sector_b,
    count(*) AS papers,
    sum(w.cited_by_count) AS citations
FROM core.work w
JOIN core.work_policy p ON p.work_id = w.work_id
JOIN core.work_field f ON f.work_id = w.work_id
JOIN core.work_territory a ON a.work_id = w.work_id AND a.policy = p.policy
JOIN core.work_territory b ON b.work_id = w.work_id AND b.policy = p.policy AND a.territory < b.territory
JOIN sector s ON a.sectors & s.bit <> 0
JOIN sector r ON b.sectors & r.bit <> 0
WHERE w.is_counted AND p.territories >= 2 AND a.territory <> 'ZZ' AND b.territory <> 'ZZ'
GROUP BY ALL;

-- Citations between counted works of one corpus, ZZ included; field and year are the citing work's.
INSERT INTO by_hand.flow_year BY NAME
WITH edge AS (
    SELECT w.work_id, w.corpus, w.year, r.cited_work_id
    FROM core.reference r
    JOIN core.work w ON w.work_id = r.citing_work_id
    JOIN core.work c ON c.work_id = r.cited_work_id AND c.corpus = w.corpus
    WHERE w.is_counted AND c.is_counted
)
SELECT e.corpus, a.policy, f.field, e.year, a.territory AS territory_citing, b.territory AS territory_cited,
    count(*) AS citations,
    sum(a.share * b.share) AS fractional
FROM edge e
JOIN core.work_territory a ON a.work_id = e.work_id
JOIN core.work_territory b ON b.work_id = e.cited_work_id AND b.policy = a.policy
JOIN core.work_field f ON f.work_id = e.work_id
GROUP BY ALL;

-- Works of a territory, ZZ included, that name a building block.
INSERT INTO by_hand.mention_year BY NAME
SELECT w.corpus, a.policy, f.field, w.year, n.mention, a.territory,
    count(*) AS papers,
    sum(a.share) AS fractional,
    sum(w.cited_by_count) AS citations
FROM core.work w
JOIN core.work_mention n ON n.work_id = w.work_id
JOIN core.work_field f ON f.work_id = w.work_id
JOIN core.work_territory a ON a.work_id = w.work_id
WHERE w.is_counted
GROUP BY ALL;

-- Works of two known territories, a before b, that name a building block.
INSERT INTO by_hand.mention_pair_year BY NAME
SELECT w.corpus, p.policy, f.field, w.year, n.mention, a.territory AS territory_a, b.territory AS territory_b,
    count(*) AS papers,
    sum(w.cited_by_count) AS citations
FROM core.work w
JOIN core.work_mention n ON n.work_id = w.work_id
JOIN core.work_policy p ON p.work_id = w.work_id
JOIN core.work_field f ON f.work_id = w.work_id
JOIN core.work_territory a ON a.work_id = w.work_id AND a.policy = p.policy
JOIN core.work_territory b ON b.work_id = w.work_id AND b.policy = p.policy AND a.territory < b.territory
WHERE w.is_counted AND p.territories >= 2 AND a.territory <> 'ZZ' AND b.territory <> 'ZZ'
GROUP BY ALL;
