-- What a client's tokens may be meant for (nothing: anybody), what tokens it is itself meant by, and one more shape of
-- claims: that of RFC 9068.
alter table oauth_clients
    add column allowed_audiences text[] not null default '{}',
    add column resources text[] not null default '{}';
alter table oauth_clients drop constraint oauth_clients_token_profile_check;
alter table oauth_clients add constraint oauth_clients_token_profile_check
    check (token_profile in ('zeroid', 'rfc8693', 'shark', 'rfc9068'));
