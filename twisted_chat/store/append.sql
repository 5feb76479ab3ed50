-- One commit of the log: one call, one transaction. Everything that numbers entries happens after
-- the log's lock is taken, and each statement after that sees all commits before it (READ COMMITTED).
-- A change of this function gets a new name, so that nodes of both versions work side by side.

CREATE FUNCTION chat_append_1(
    p_node bigint,
    p_epoch bigint,             -- of the node's registration: after a newer one, this is refused
    p_timeline bigint,          -- of PostgreSQL, when the node connected
    p_batch bigint,
    p_seen bigint,              -- the node had shown the log up to here when the posts came
    p_places int,               -- how many ids the batch takes: one for each post and announcement
    p_has_labels boolean,       -- whether a label is long enough to be looked for
    -- The posts, in order. A room of 0 is in p_makes.
    p_at int[],                 -- the place in the batch, from 1 on
    p_rooms bigint[],
    p_kinds text[],
    p_author_ids bigint[],
    p_authors text[],
    p_times bigint[],
    p_texts text[],
    p_abouts bigint[],
    p_labels text[],
    p_makes jsonb,              -- rooms to find or make, by the number of the post
    p_stands jsonb,             -- what accounts are from now on, by the number of the post
    -- Read marks. Each comes after the post at this place.
    p_mark_at int[],
    p_mark_accounts bigint[],
    p_mark_rooms bigint[],
    p_mark_seqs bigint[],
    -- What other nodes are told
    p_news_at int[],
    p_news_kinds text[],
    p_news_bodies text[],
    p_let_go text[],            -- skeletons of names
    OUT base bigint,            -- the last id before the batch
    OUT landed bigint[],        -- the rooms of the posts; null for a post that is not in the log
    OUT doubled int[],          -- numbers of posts that are in the log already,
    OUT originals bigint[],     -- and their ids there
    OUT heads bigint[],         -- the rooms of the batch,
    OUT seqs bigint[],          -- and the seq
    OUT times bigint[]          -- and time of their newest entries before the batch
) LANGUAGE plpgsql AS $$
DECLARE
    make record;
    stand record;
    made bigint;
    seen bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(7163380401923912052);
    IF NOT EXISTS (SELECT FROM nodes WHERE id = p_node AND epoch = p_epoch) THEN
        RAISE EXCEPTION 'the node was evicted, or has another connection' USING ERRCODE = 'CHFEN';
    ELSIF EXISTS (SELECT FROM nodes WHERE timeline <> p_timeline) THEN
        -- One of them may have shown what this database has lost; its numbers must stay unused.
        RAISE EXCEPTION 'not all nodes are back after a failover' USING ERRCODE = 'CHWAI';
    END IF;
    SELECT last_id INTO base FROM commits ORDER BY last_id DESC LIMIT 1;

    -- What another node has stored lately with the same label is not stored again.
    IF p_has_labels AND base > p_seen THEN
        WITH lately AS MATERIALIZED (
            SELECT id, author_id, author, label FROM entries WHERE id > p_seen AND label IS NOT NULL
        ), repeated AS (
            SELECT post.n, min(lately.id) AS id
            FROM unnest(p_author_ids, p_authors, p_labels)
                WITH ORDINALITY AS post (author_id, author, label, n)
            JOIN lately ON lately.label = post.label
                AND coalesce(lately.author_id::text, lately.author || ' ')
                    = coalesce(post.author_id::text, post.author || ' ')
            WHERE length(post.label) >= 16
            GROUP BY post.n
        )
        SELECT array_agg(n), array_agg(id) INTO doubled, originals FROM repeated;
        FOR i IN 1 .. coalesce(cardinality(doubled), 0) LOOP
            p_rooms[doubled[i]] := NULL;
        END LOOP;
    END IF;

    -- Find private conversations, and make rooms.
    FOR make IN
        SELECT * FROM jsonb_to_recordset(p_makes)
            AS x (n int, kind text, name text, skeleton text, first bigint, second bigint, owner bigint)
    LOOP
        CONTINUE WHEN p_rooms[make.n] IS NULL;
        made := NULL;
        IF make.first IS NOT NULL THEN
            SELECT id INTO made FROM rooms WHERE first_id = make.first AND second_id = make.second;
        END IF;
        IF made IS NULL THEN
            INSERT INTO rooms (kind, name, skeleton, first_id, second_id, created)
            VALUES (make.kind, make.name, make.skeleton, make.first, make.second, p_times[make.n])
            ON CONFLICT DO NOTHING RETURNING id INTO made;
            INSERT INTO members (room_id, account_id, role)
            SELECT made, account, CASE WHEN make.first IS NULL THEN 'owner' ELSE 'member' END
            FROM unnest(ARRAY[make.first, nullif(make.second, make.first), make.owner]) AS account
            WHERE made IS NOT NULL AND account IS NOT NULL;
        END IF;
        p_rooms[make.n] := made;
    END LOOP;
    IF p_makes IS NOT NULL OR doubled IS NOT NULL THEN
        landed := p_rooms;
    END IF;

    SELECT array_agg(room.id), array_agg(greatest(room.last_seq, newest.seq)),
        array_agg(greatest(room.last_time, newest.time))
    INTO heads, seqs, times
    FROM (SELECT DISTINCT unnest(p_rooms || p_mark_rooms) AS id) AS of
    JOIN rooms AS room ON room.id = of.id
    LEFT JOIN LATERAL (
        SELECT seq, time FROM entries WHERE room_id = room.id ORDER BY seq DESC LIMIT 1
    ) AS newest ON true;

    IF 'topic' = ANY (p_kinds) THEN
        UPDATE rooms SET topic = post.text, topic_by = post.author
        FROM (
            SELECT DISTINCT ON (room) room, text, author
            FROM unnest(p_at, p_rooms, p_kinds, p_texts, p_authors)
                AS all_posts (at, room, kind, text, author)
            WHERE kind = 'topic' AND room IS NOT NULL ORDER BY room, at DESC
        ) AS post
        WHERE rooms.id = post.room;
    END IF;

    FOR stand IN
        SELECT * FROM jsonb_to_recordset(p_stands) AS x (n int, account bigint, role text, joins boolean)
    LOOP
        CONTINUE WHEN p_rooms[stand.n] IS NULL;
        IF stand.role IS NULL THEN
            DELETE FROM members WHERE account_id = stand.account AND room_id = p_rooms[stand.n];
            CONTINUE;
        END IF;
        -- A new member has seen all that is before the entry.
        seen := seqs[array_position(heads, p_rooms[stand.n])]
            + cardinality(array_positions(p_rooms[: stand.n - 1], p_rooms[stand.n]));
        INSERT INTO members AS m (room_id, account_id, role, read_seq)
        VALUES (p_rooms[stand.n], stand.account, stand.role, seen)
        ON CONFLICT (account_id, room_id) DO UPDATE SET role = excluded.role WHERE NOT stand.joins;
    END LOOP;

    -- Also of those who have joined since: a new member has seen more than the mark says.
    IF p_mark_at IS NOT NULL THEN
        UPDATE members SET read_seq = mark.seq
        FROM (
            SELECT account, room, max(least(one.seq, head.seq + (
                SELECT count(*) FROM unnest(p_at, p_rooms) AS post (at, room)
                WHERE post.room = one.room AND post.at <= one.at
            ))) AS seq
            FROM unnest(p_mark_at, p_mark_accounts, p_mark_rooms, p_mark_seqs)
                AS one (at, account, room, seq)
            JOIN unnest(heads, seqs) AS head (room, seq) USING (room)
            GROUP BY account, room
        ) AS mark
        WHERE account_id = mark.account AND room_id = mark.room AND read_seq < mark.seq;
    END IF;

    -- The entries. Whoever has seen all that was said before has seen all when they speak themselves.
    IF p_at IS NOT NULL THEN
        WITH numbered AS (
            SELECT *, row_number() OVER (PARTITION BY room ORDER BY at) AS n
            FROM unnest(p_at, p_rooms, p_kinds, p_author_ids, p_authors, p_times, p_texts, p_abouts,
                p_labels)
                AS post (at, room, kind, author_id, author, time, text, about, label)
            WHERE room IS NOT NULL
        ), placed AS (
            SELECT at, room, head.seq + n AS seq, kind, author_id, author,
                n + greatest(head.time,
                    max(numbered.time - n) OVER (PARTITION BY room ORDER BY at)) AS time,
                text, about, label
            FROM numbered LEFT JOIN unnest(heads, seqs, times) AS head (room, seq, time) USING (room)
        ), stored AS (
            INSERT INTO entries
                (id, room_id, seq, kind, author_id, author, time, text, about, label)
            SELECT base + at, room, seq, kind, author_id, author, time, text, about, label
            FROM placed
        ), runs AS (
            SELECT room, author_id, seq,
                seq - row_number() OVER (PARTITION BY room, author_id ORDER BY seq) + 1 AS began,
                min(seq) OVER (PARTITION BY room, author_id) AS first
            FROM placed WHERE author_id IS NOT NULL
        ), own AS (
            SELECT room, author_id, first, max(seq) AS last FROM runs WHERE began = first
            GROUP BY room, author_id, first
        )
        UPDATE members SET read_seq = own.last
        FROM own JOIN rooms ON rooms.id = own.room
        WHERE members.account_id = own.author_id AND members.room_id = own.room
            AND members.read_seq = own.first - 1
            AND (rooms.kind <> 'direct' OR rooms.first_id <> rooms.second_id);
    END IF;

    IF p_let_go IS NOT NULL THEN
        DELETE FROM held WHERE skeleton = ANY (p_let_go) AND node = p_node;
    END IF;
    IF p_news_at IS NOT NULL THEN
        INSERT INTO news (id, node, kind, body)
        SELECT base + at, p_node, kind, body
        FROM unnest(p_news_at, p_news_kinds, p_news_bodies) AS one (at, kind, body);
    END IF;
    IF p_places > 0 THEN
        INSERT INTO commits (last_id, node, batch, time)
        VALUES (base + p_places, p_node, p_batch, extract(epoch FROM clock_timestamp()) * 1000);
        PERFORM pg_notify('chat', p_node || ' ' || base + p_places);
    END IF;
END $$;
