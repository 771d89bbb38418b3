-- Reviews of each sentiment, their share of all, and their mean rating
SELECT
  sentiment,
  count(*) AS reviews,
  round(CAST(count(*) AS DOUBLE) / sum(count(*)) OVER (), 4) AS share,
  round(avg(rating), 3) AS mean_rating
FROM reviews
GROUP BY sentiment
ORDER BY sentiment
